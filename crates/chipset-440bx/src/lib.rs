//! Intel 82443BX host bridge and PIIX4 with what they integrate: 8259, 8254, 8237, RTC, power management.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

