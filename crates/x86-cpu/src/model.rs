//! Processor models as data: what CPUID says and what follows from it.

/// CPUID leaf 1 EDX: x87 on chip.
pub const FPU: u32 = 1 << 0;
/// CPUID leaf 1 EDX: V86-mode extensions.
pub const VME: u32 = 1 << 1;
/// CPUID leaf 1 EDX: debugging extensions (CR4.DE).
pub const DE: u32 = 1 << 2;
/// CPUID leaf 1 EDX: 4 MiB pages.
pub const PSE: u32 = 1 << 3;
/// CPUID leaf 1 EDX: time-stamp counter.
pub const TSC: u32 = 1 << 4;
/// CPUID leaf 1 EDX: RDMSR and WRMSR.
pub const MSR: u32 = 1 << 5;
/// CPUID leaf 1 EDX: physical address extension.
pub const PAE: u32 = 1 << 6;
/// CPUID leaf 1 EDX: machine-check exception.
pub const MCE: u32 = 1 << 7;
/// CPUID leaf 1 EDX: CMPXCHG8B.
pub const CX8: u32 = 1 << 8;
/// CPUID leaf 1 EDX: SYSENTER and SYSEXIT.
pub const SEP: u32 = 1 << 11;
/// CPUID leaf 1 EDX: memory-type range registers.
pub const MTRR: u32 = 1 << 12;
/// CPUID leaf 1 EDX: global pages.
pub const PGE: u32 = 1 << 13;
/// CPUID leaf 1 EDX: machine-check architecture.
pub const MCA: u32 = 1 << 14;
/// CPUID leaf 1 EDX: CMOVcc, FCMOVcc and FCOMI.
pub const CMOV: u32 = 1 << 15;
/// CPUID leaf 1 EDX: page attribute table.
pub const PAT: u32 = 1 << 16;
/// CPUID leaf 1 EDX: 36-bit addresses in 4 MiB pages.
pub const PSE36: u32 = 1 << 17;
/// CPUID leaf 1 EDX: MMX.
pub const MMX: u32 = 1 << 23;
/// CPUID leaf 1 EDX: FXSAVE and FXRSTOR.
pub const FXSR: u32 = 1 << 24;
/// CPUID leaf 1 EDX: SSE.
pub const SSE: u32 = 1 << 25;

/// A processor model.
///
/// ```
/// use slotone_x86_cpu::{CpuModel, SoftCpu};
/// let model = CpuModel::by_name("pentium3").unwrap();
/// assert_eq!(model.signature >> 8, 6);
/// let _cpu = SoftCpu::new(model);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuModel {
    /// The name by which [`CpuModel::by_name`] finds it.
    pub name: &'static str,
    /// Vendor string of leaf 0.
    pub vendor: [u8; 12],
    /// Highest leaf.
    pub max_leaf: u32,
    /// Type, family, model and stepping: EAX of leaf 1, and EDX after RESET.
    pub signature: u32,
    /// Features: EDX of leaf 1. The constants of [`crate::model`] name the bits.
    pub features: u32,
    /// Cache and TLB descriptors: EAX, EBX, ECX, EDX of leaf 2.
    pub caches: [u32; 4],
    /// Physical address lines.
    pub address_bits: u32,
    /// Microcode revision reported by MSR 8Bh.
    pub microcode: u32,
}

const INTEL: [u8; 12] = *b"GenuineIntel";
const P6: u32 =
    FPU | VME | DE | PSE | TSC | MSR | PAE | MCE | CX8 | SEP | MTRR | PGE | MCA | CMOV | PAT | PSE36;

/// The models there are.
pub const MODELS: [CpuModel; 4] = [
    CpuModel {
        name: "486",
        vendor: INTEL,
        max_leaf: 1,
        signature: 0x0480,
        features: FPU | VME,
        caches: [0; 4],
        address_bits: 32,
        microcode: 0,
    },
    CpuModel {
        name: "pentium",
        vendor: INTEL,
        max_leaf: 1,
        signature: 0x0543,
        features: FPU | VME | DE | PSE | TSC | MSR | MCE | CX8 | MMX,
        caches: [0; 4],
        address_bits: 32,
        microcode: 0,
    },
    CpuModel {
        name: "pentium2",
        vendor: INTEL,
        max_leaf: 2,
        signature: 0x0652,
        features: P6 | MMX | FXSR,
        caches: [0x0302_0101, 0, 0, 0x0C04_0843],
        address_bits: 36,
        microcode: 0x2A,
    },
    CpuModel {
        name: "pentium3",
        vendor: INTEL,
        max_leaf: 2,
        signature: 0x0683,
        features: P6 | MMX | FXSR | SSE,
        caches: [0x0302_0101, 0, 0, 0x0C04_0882],
        address_bits: 36,
        microcode: 0x14,
    },
];

impl CpuModel {
    /// The model of that name: `486`, `pentium`, `pentium2` or `pentium3`.
    pub fn by_name(name: &str) -> Option<Self> {
        MODELS.iter().find(|m| m.name == name).cloned()
    }

    /// A Pentium II (Deschutes).
    pub fn pentium2() -> Self {
        MODELS[2].clone()
    }

    /// Whether it has all of these features.
    #[inline]
    pub fn has(&self, features: u32) -> bool {
        self.features & features == features
    }

    /// EAX, EBX, ECX, EDX of a leaf; a leaf above the highest reads as the highest.
    pub fn cpuid(&self, leaf: u32) -> [u32; 4] {
        let word = |i: usize| {
            u32::from_le_bytes([self.vendor[i], self.vendor[i + 1], self.vendor[i + 2], self.vendor[i + 3]])
        };
        match leaf.min(self.max_leaf) {
            0 => [self.max_leaf, word(0), word(8), word(4)],
            1 => [self.signature, 0, 0, self.features],
            _ => self.caches,
        }
    }
}

impl Default for CpuModel {
    fn default() -> Self {
        Self::pentium2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_model_claims_a_local_apic() {
        assert!(MODELS.iter().all(|m| !m.has(1 << 9)));
        assert_eq!(CpuModel::default().features, 0x0183_F9FF);
        assert_eq!(CpuModel::default().cpuid(0)[1..], [0x756E_6547, 0x6C65_746E, 0x4965_6E69]);
    }
}
