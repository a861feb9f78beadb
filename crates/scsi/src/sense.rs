//! Sense data (SPC-2, 7.20).

/// Sense key (SPC-2, table 69).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SenseKey {
    /// Nothing to report.
    #[default]
    NoSense,
    /// The unit cannot be reached: no medium, tray open.
    NotReady,
    /// A flaw of the medium.
    MediumError,
    /// The drive itself failed.
    HardwareError,
    /// A bad command or parameter.
    IllegalRequest,
    /// Medium changed, or the unit was reset.
    UnitAttention,
    /// A write to a protected medium.
    DataProtect,
    /// The target gave the command up.
    AbortedCommand,
    /// The medium holds other data than the initiator's.
    Miscompare,
}

slotone_bus::encode_enum!(SenseKey {
    NoSense,
    NotReady,
    MediumError,
    HardwareError,
    IllegalRequest,
    UnitAttention,
    DataProtect,
    AbortedCommand,
    Miscompare,
});

impl SenseKey {
    /// The four-bit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::NoSense => 0,
            Self::NotReady => 2,
            Self::MediumError => 3,
            Self::HardwareError => 4,
            Self::IllegalRequest => 5,
            Self::UnitAttention => 6,
            Self::DataProtect => 7,
            Self::AbortedCommand => 0xb,
            Self::Miscompare => 0xe,
        }
    }
}

/// Why a command ended with CHECK CONDITION.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sense {
    /// Sense key.
    pub key: SenseKey,
    /// Additional sense code.
    pub asc: u8,
    /// Additional sense code qualifier.
    pub ascq: u8,
    /// INFORMATION field: the logical block the sense is about; sets VALID.
    pub information: Option<u64>,
    /// FIELD POINTER: the byte of the command block or, with 26h, of the parameter list that is at fault; sets SKSV.
    pub field: Option<u16>,
}

slotone_bus::encode_fields!(Sense { key, asc, ascq, information, field });

impl Sense {
    pub(crate) const INCOMPATIBLE_MEDIUM: Self = Self::new(SenseKey::IllegalRequest, 0x30, 0x02);
    pub(crate) const STOPPED: Self = Self::new(SenseKey::NotReady, 0x04, 0x02);
    pub(crate) const NOT_READY: Self = Self::new(SenseKey::NotReady, 0x04, 0x00);
    pub(crate) const WRITE_ERROR: Self = Self::new(SenseKey::MediumError, 0x0c, 0x00);
    pub(crate) const PARAMETER_LIST_LENGTH: Self = Self::new(SenseKey::IllegalRequest, 0x1a, 0x00);
    pub(crate) const INVALID_PARAMETER: Self = Self::new(SenseKey::IllegalRequest, 0x26, 0x00);
    pub(crate) const SEQUENCE_ERROR: Self = Self::new(SenseKey::IllegalRequest, 0x2c, 0x00);
    pub(crate) const WRITE_PROTECTED: Self = Self::new(SenseKey::DataProtect, 0x27, 0x00);
    pub(crate) const MISCOMPARE: Self = Self::new(SenseKey::Miscompare, 0x1d, 0x00);
    pub(crate) const NO_MEDIUM: Self = Self::new(SenseKey::NotReady, 0x3a, 0x01);
    pub(crate) const NO_MEDIUM_TRAY_OPEN: Self = Self::new(SenseKey::NotReady, 0x3a, 0x02);
    pub(crate) const UNRECOVERED_READ_ERROR: Self = Self::new(SenseKey::MediumError, 0x11, 0x00);
    pub(crate) const FORMAT_CORRUPTED: Self = Self::new(SenseKey::MediumError, 0x31, 0x00);
    pub(crate) const INTERNAL_FAILURE: Self = Self::new(SenseKey::HardwareError, 0x44, 0x00);
    pub(crate) const INVALID_OPCODE: Self = Self::new(SenseKey::IllegalRequest, 0x20, 0x00);
    pub(crate) const OUT_OF_RANGE: Self = Self::new(SenseKey::IllegalRequest, 0x21, 0x00);
    pub(crate) const LUN_NOT_SUPPORTED: Self = Self::new(SenseKey::IllegalRequest, 0x25, 0x00);
    pub(crate) const INVALID_FIELD: Self = Self::new(SenseKey::IllegalRequest, 0x24, 0x00);
    pub(crate) const SAVING_NOT_SUPPORTED: Self = Self::new(SenseKey::IllegalRequest, 0x39, 0x00);
    pub(crate) const REMOVAL_PREVENTED: Self = Self::new(SenseKey::IllegalRequest, 0x53, 0x02);
    pub(crate) const ILLEGAL_MODE: Self = Self::new(SenseKey::IllegalRequest, 0x64, 0x00);
    pub(crate) const MEDIUM_CHANGED: Self = Self::new(SenseKey::UnitAttention, 0x28, 0x00);
    pub(crate) const RESET: Self = Self::new(SenseKey::UnitAttention, 0x29, 0x00);
    pub(crate) const DEVICE_RESET: Self = Self::new(SenseKey::UnitAttention, 0x29, 0x03);
    pub(crate) const MODE_CHANGED: Self = Self::new(SenseKey::UnitAttention, 0x2a, 0x01);

    /// Sense without an INFORMATION field and a FIELD POINTER.
    pub const fn new(key: SenseKey, asc: u8, ascq: u8) -> Self {
        Self { key, asc, ascq, information: None, field: None }
    }

    /// Byte `at` is the one at fault.
    pub(crate) fn at(self, at: usize) -> Self {
        Self { field: u16::try_from(at).ok(), ..self }
    }

    /// The sense-key specific bytes: SKSV, C/D and the byte at fault.
    fn sense_key_specific(self) -> Option<[u8; 3]> {
        let [high, low] = self.field?.to_be_bytes();
        let in_command = if self.asc == 0x26 { 0 } else { 0x40 };
        Some([0x80 | in_command, high, low])
    }

    /// Fixed-format sense data, 18 bytes (SPC-2, 7.20.2). An INFORMATION field that does not fit into 32 bits is left out: VALID is 0.
    pub fn to_bytes(self) -> [u8; 18] {
        let mut bytes = [0; 18];
        bytes[0] = 0x70;
        bytes[2] = self.key.code();
        if let Some(information) = self.information.and_then(|i| u32::try_from(i).ok()) {
            bytes[0] |= 0x80;
            bytes[3..7].copy_from_slice(&information.to_be_bytes());
        }
        bytes[7] = 10;
        bytes[12] = self.asc;
        bytes[13] = self.ascq;
        if let Some(specific) = self.sense_key_specific() {
            bytes[15..].copy_from_slice(&specific);
        }
        bytes
    }

    /// Descriptor-format sense data, 8 to 28 bytes (SPC-3, 4.5.2).
    pub fn to_descriptor_bytes(self) -> Vec<u8> {
        let mut bytes = vec![0x72, self.key.code(), self.asc, self.ascq, 0, 0, 0, 0];
        if let Some(information) = self.information {
            bytes[7] = 12;
            bytes.extend([0, 10, 0x80, 0]);
            bytes.extend(information.to_be_bytes());
        }
        if let Some(specific) = self.sense_key_specific() {
            bytes[7] += 8;
            bytes.extend([2, 6, 0, 0]);
            bytes.extend(specific);
            bytes.push(0);
        }
        bytes
    }
}
