//! The bodies of the fuzz targets: plain functions of the input's bytes that panic when something is wrong. They run under
//! libFuzzer (`fuzz_targets/`) and on a stable compiler over the committed seeds (`examples/tests/fuzz_seeds.rs`).
//!
//! Every body bounds the time and the memory that one input takes, and is a function of its input alone.

mod aic7870;
mod aic7870_steps;
mod block;
mod bus;
mod cpu;
mod devices;
mod firmware;
mod machine;
mod nat;
mod pci;
mod scsi;
mod scsi_faulty;
pub mod text;
mod tulip;
mod vhd;
mod vhd_parts;
mod vnet;

pub use aic7870::{aic7870_registers, aic7870_sequencer};
pub use block::block;
pub use bus::bus;
pub use cpu::cpu;
pub use devices::{
    chipset_dma, chipset_host_bridge, chipset_isa_bridge, chipset_pic, chipset_pit, chipset_pm, chipset_rtc,
    ide, s3trio, superio_config, superio_kbc, superio_uart,
};
pub use firmware::firmware;
pub use machine::machine;
pub use nat::nat;
pub use pci::pci;
pub use scsi::{scsi_cdrom, scsi_disk};
pub use scsi_faulty::scsi_faulty;
pub use tulip::{srom, tulip};
pub use vhd::{vhd_disk, vhd_open};
pub use vhd_parts::{vhd_chain, vhd_footer, vhd_header, vhd_locators};
pub use vnet::{dhcp, switch};

/// A body: takes an input and panics if something is wrong.
pub type Body = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Body)] = &[
    ("aic7870_registers", aic7870_registers),
    ("aic7870_sequencer", aic7870_sequencer),
    ("block", block),
    ("bus", bus),
    ("chipset_dma", chipset_dma),
    ("chipset_host_bridge", chipset_host_bridge),
    ("chipset_isa_bridge", chipset_isa_bridge),
    ("chipset_pic", chipset_pic),
    ("chipset_pit", chipset_pit),
    ("chipset_pm", chipset_pm),
    ("chipset_rtc", chipset_rtc),
    ("cpu", cpu),
    ("dhcp", dhcp),
    ("firmware", firmware),
    ("ide", ide),
    ("machine", machine),
    ("nat", nat),
    ("pci", pci),
    ("s3trio", s3trio),
    ("scsi_cdrom", scsi_cdrom),
    ("scsi_disk", scsi_disk),
    ("scsi_faulty", scsi_faulty),
    ("srom", srom),
    ("superio_config", superio_config),
    ("superio_kbc", superio_kbc),
    ("superio_uart", superio_uart),
    ("switch", switch),
    ("tulip", tulip),
    ("vhd_chain", vhd_chain),
    ("vhd_disk", vhd_disk),
    ("vhd_footer", vhd_footer),
    ("vhd_header", vhd_header),
    ("vhd_locators", vhd_locators),
    ("vhd_open", vhd_open),
];

/// A small generator: what an input does not say itself is a function of it.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Takes an input apart, front to back; zeros behind its end.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.take(N);
        out[..taken.len()].copy_from_slice(taken);
        out
    }

    /// At most `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        head
    }
}
