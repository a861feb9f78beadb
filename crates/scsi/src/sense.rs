//! Sense data (SPC-2, 7.20).

use std::fmt;

use crate::asc;

/// Sense key (SPC-2, table 69): all that four bits can say, so that sense data of others can be told as well ([`Sense::from_bytes`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum SenseKey {
    /// Nothing to report.
    #[default]
    NoSense = 0x0,
    /// The command succeeded with some effort of the unit.
    RecoveredError = 0x1,
    /// The unit cannot be reached: no medium, tray open.
    NotReady = 0x2,
    /// A flaw of the medium.
    MediumError = 0x3,
    /// The drive itself failed.
    HardwareError = 0x4,
    /// A bad command or parameter.
    IllegalRequest = 0x5,
    /// Medium changed, or the unit was reset.
    UnitAttention = 0x6,
    /// A write to a protected medium.
    DataProtect = 0x7,
    /// Blank or written medium where the other was needed.
    BlankCheck = 0x8,
    /// Of the vendor's own.
    VendorSpecific = 0x9,
    /// EXTENDED COPY was given up.
    CopyAborted = 0xa,
    /// The target gave the command up.
    AbortedCommand = 0xb,
    /// SEARCH DATA found what it searched for (SCSI-2; obsolete since).
    Equal = 0xc,
    /// A buffered write reached the end of the medium.
    VolumeOverflow = 0xd,
    /// The medium holds other data than the initiator's.
    Miscompare = 0xe,
    /// The command completed, and there is something to tell (SPC-4; reserved before).
    Completed = 0xf,
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
    RecoveredError,
    BlankCheck,
    VendorSpecific,
    CopyAborted,
    Equal,
    VolumeOverflow,
    Completed,
});

impl SenseKey {
    /// By code.
    const ALL: [(Self, &'static str); 16] = [
        (Self::NoSense, "NO SENSE"),
        (Self::RecoveredError, "RECOVERED ERROR"),
        (Self::NotReady, "NOT READY"),
        (Self::MediumError, "MEDIUM ERROR"),
        (Self::HardwareError, "HARDWARE ERROR"),
        (Self::IllegalRequest, "ILLEGAL REQUEST"),
        (Self::UnitAttention, "UNIT ATTENTION"),
        (Self::DataProtect, "DATA PROTECT"),
        (Self::BlankCheck, "BLANK CHECK"),
        (Self::VendorSpecific, "VENDOR SPECIFIC"),
        (Self::CopyAborted, "COPY ABORTED"),
        (Self::AbortedCommand, "ABORTED COMMAND"),
        (Self::Equal, "EQUAL"),
        (Self::VolumeOverflow, "VOLUME OVERFLOW"),
        (Self::Miscompare, "MISCOMPARE"),
        (Self::Completed, "COMPLETED"),
    ];

    /// The key of a four-bit code; the upper four bits do not count.
    pub const fn from_code(code: u8) -> Self {
        Self::ALL[(code & 0x0f) as usize].0
    }

    /// The four-bit code.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Its name in SPC: `UNIT ATTENTION`.
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl fmt::Display for SenseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a command ended with CHECK CONDITION.
///
/// ```
/// use slotone_scsi::{Sense, SenseKey};
/// // What a REQUEST SENSE brought, of this crate's target or of any other.
/// let bytes = [0xf0, 0, 0x03, 0, 0, 0, 100, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0];
/// let sense = Sense::from_bytes(&bytes).unwrap();
/// assert_eq!((sense.key, sense.asc, sense.ascq), (SenseKey::MediumError, 0x11, 0x00));
/// assert_eq!(sense.to_string(), "MEDIUM ERROR 11/00, unrecovered read error; at block 100");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sense {
    /// Sense key.
    pub key: SenseKey,
    /// Additional sense code.
    pub asc: u8,
    /// Additional sense code qualifier.
    pub ascq: u8,
    /// INFORMATION field: the logical block the sense is about; sets VALID.
    pub information: Option<u64>,
    /// FIELD POINTER: the byte of the command block or, with 26h, of the parameter list that is at fault; sets SKSV. ILLEGAL REQUEST only: for
    /// other keys these bytes mean other things, so that it is not told.
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

    /// The name of the additional sense code, if it is one of the usual ones: [`asc::name`].
    pub fn name(self) -> Option<&'static str> {
        asc::name(self.asc, self.ascq)
    }

    fn in_parameters(self) -> bool {
        self.asc == 0x26
    }

    /// The sense-key specific bytes: SKSV, C/D and the byte at fault.
    fn sense_key_specific(self) -> Option<[u8; 3]> {
        let field = self.field.filter(|_| self.key == SenseKey::IllegalRequest)?;
        let [high, low] = field.to_be_bytes();
        let in_command = if self.in_parameters() { 0 } else { 0x40 };
        Some([0x80 | in_command, high, low])
    }

    /// The byte at fault by the sense-key specific bytes.
    fn field_pointer(key: SenseKey, specific: &[u8]) -> Option<u16> {
        match *specific {
            [flags, high, low, ..] if flags & 0x80 != 0 && key == SenseKey::IllegalRequest => {
                Some(u16::from_be_bytes([high, low]))
            }
            _ => None,
        }
    }

    /// Reads sense data of fixed format (70h and 71h) or of descriptor format (72h and 73h), of any target: what [`Sense::to_bytes`] and
    /// [`Sense::to_descriptor_bytes`] write, and what an initiator got in as many bytes as it allocated. What is cut off or beyond the additional
    /// length counts as zero or not there; filemarks, lengths, progress and other descriptors are passed over.
    ///
    /// `None`: no sense data of these formats, or too short for a sense key. That an error is deferred (71h, 73h) only the first byte tells.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (fixed, key) = match bytes.first()? & 0x7f {
            0x70 | 0x71 => (true, bytes.get(2)?),
            0x72 | 0x73 => (false, bytes.get(1)?),
            _ => return None,
        };
        let key = SenseKey::from_code(*key);
        let end = bytes.get(7).map_or(bytes.len(), |additional| 8 + usize::from(*additional));
        let bytes = &bytes[..end.min(bytes.len())];
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        if !fixed {
            return Some(Self::new(key, byte(2), byte(3)).with_descriptors(bytes.get(8..).unwrap_or(&[])));
        }
        let valid = bytes[0] & 0x80 != 0;
        let information = bytes.get(3..7).filter(|_| valid).and_then(<[u8]>::first_chunk);
        Some(Self {
            information: information.map(|i| u32::from_be_bytes(*i).into()),
            field: bytes.get(15..).and_then(|specific| Self::field_pointer(key, specific)),
            ..Self::new(key, byte(12), byte(13))
        })
    }

    /// What the descriptors say that are whole.
    fn with_descriptors(mut self, mut rest: &[u8]) -> Self {
        while let [kind, len, tail @ ..] = rest {
            let Some((body, next)) = tail.split_at_checked(usize::from(*len)) else { break };
            match (kind, body) {
                // INFORMATION, if it is VALID.
                (0, [0x80..=0xff, _, information @ ..]) => {
                    self.information = information.first_chunk().map(|i| u64::from_be_bytes(*i));
                }
                (2, [_, _, specific @ ..]) => self.field = Self::field_pointer(self.key, specific),
                _ => {}
            }
            rest = next;
        }
        self
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

impl fmt::Display for Sense {
    /// `UNIT ATTENTION 29/00, power on, reset, or bus device reset occurred`: the key, code and qualifier in hexadecimal digits, and as far as
    /// they are known the code's name, the block and the byte at fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:02X}/{:02X}", self.key, self.asc, self.ascq)?;
        if let Some(name) = self.name() {
            write!(f, ", {name}")?;
        }
        if let Some(block) = self.information {
            write!(f, "; at block {block}")?;
        }
        if let Some(field) = self.field.filter(|_| self.key == SenseKey::IllegalRequest) {
            let of = if self.in_parameters() { "parameter list" } else { "command" };
            write!(f, "; byte {field} of the {of}")?;
        }
        Ok(())
    }
}
