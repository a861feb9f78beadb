//! What a target's builder chooses, for any kind of unit.

/// The standard that INQUIRY names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// SCSI-2: drivers leave out vital product data, REPORT LUNS and what else came later, though it is there for those who ask.
    #[default]
    Scsi2,
    /// None claimed: ATAPI.
    None,
    /// SPC-3: drivers look for block limits, UNMAP and the like.
    Spc3,
}

impl Version {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Scsi2 => 2,
            Self::Spc3 => 5,
        }
    }
}

/// What INQUIRY promises of a parallel bus; the adapter that carries the commands must keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpiFlags {
    /// WBUS16: 16-bit transfers can be negotiated.
    pub wide: bool,
    /// SYNC: synchronous transfers can be negotiated.
    pub sync: bool,
    /// CMDQUE: tagged commands.
    pub queueing: bool,
}
