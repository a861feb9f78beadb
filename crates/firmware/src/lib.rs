//! BIOS of the 440BX machine: ROM entry points, boot services, ACPI and PCI tables.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

