//! Operation codes by their names in SPC-2 and MMC-3.

macro_rules! opcodes {
    ($($name:ident = $code:literal, $title:literal;)*) => {
        $(#[doc = $title] pub const $name: u8 = $code;)*

        /// The name of an operation code, if a target of this crate knows it.
        pub fn name(code: u8) -> Option<&'static str> {
            match code {
                $($code => Some($title),)*
                _ => None,
            }
        }
    };
}

/// Bytes of a command block by the group of its operation code (SPC-2, 4.3.2): what an adapter fetches. 6 for the reserved and
/// vendor-specific groups, whose length nobody but their inventor knows.
pub const fn cdb_len(code: u8) -> usize {
    match code >> 5 {
        1 | 2 => 10,
        4 => 16,
        5 => 12,
        _ => 6,
    }
}

opcodes! {
    TEST_UNIT_READY = 0x00, "TEST UNIT READY";
    REQUEST_SENSE = 0x03, "REQUEST SENSE";
    INQUIRY = 0x12, "INQUIRY";
    MODE_SENSE_6 = 0x1a, "MODE SENSE(6)";
    START_STOP_UNIT = 0x1b, "START STOP UNIT";
    PREVENT_ALLOW_MEDIUM_REMOVAL = 0x1e, "PREVENT ALLOW MEDIUM REMOVAL";
    READ_CAPACITY = 0x25, "READ CAPACITY(10)";
    READ_10 = 0x28, "READ(10)";
    SEEK_10 = 0x2b, "SEEK(10)";
    READ_SUB_CHANNEL = 0x42, "READ SUB-CHANNEL";
    READ_TOC = 0x43, "READ TOC/PMA/ATIP";
    READ_HEADER = 0x44, "READ HEADER";
    GET_CONFIGURATION = 0x46, "GET CONFIGURATION";
    GET_EVENT_STATUS_NOTIFICATION = 0x4a, "GET EVENT STATUS NOTIFICATION";
    STOP_PLAY_SCAN = 0x4e, "STOP PLAY/SCAN";
    READ_DISC_INFORMATION = 0x51, "READ DISC INFORMATION";
    READ_TRACK_INFORMATION = 0x52, "READ TRACK INFORMATION";
    MODE_SENSE_10 = 0x5a, "MODE SENSE(10)";
    REPORT_LUNS = 0xa0, "REPORT LUNS";
    READ_12 = 0xa8, "READ(12)";
    READ_CD_MSF = 0xb9, "READ CD MSF";
    SET_CD_SPEED = 0xbb, "SET CD SPEED";
    MECHANISM_STATUS = 0xbd, "MECHANISM STATUS";
    READ_CD = 0xbe, "READ CD";
}
