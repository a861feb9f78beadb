//! Operation codes by their names in SPC-2, SBC-2 and MMC-3.

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

/// UNMAP of a disk: the code that READ SUB-CHANNEL has on a CD drive.
pub const UNMAP: u8 = 0x42;

opcodes! {
    TEST_UNIT_READY = 0x00, "TEST UNIT READY";
    REZERO_UNIT = 0x01, "REZERO UNIT";
    REQUEST_SENSE = 0x03, "REQUEST SENSE";
    FORMAT_UNIT = 0x04, "FORMAT UNIT";
    READ_6 = 0x08, "READ(6)";
    WRITE_6 = 0x0a, "WRITE(6)";
    SEEK_6 = 0x0b, "SEEK(6)";
    INQUIRY = 0x12, "INQUIRY";
    MODE_SELECT_6 = 0x15, "MODE SELECT(6)";
    RESERVE_6 = 0x16, "RESERVE(6)";
    RELEASE_6 = 0x17, "RELEASE(6)";
    MODE_SENSE_6 = 0x1a, "MODE SENSE(6)";
    START_STOP_UNIT = 0x1b, "START STOP UNIT";
    SEND_DIAGNOSTIC = 0x1d, "SEND DIAGNOSTIC";
    PREVENT_ALLOW_MEDIUM_REMOVAL = 0x1e, "PREVENT ALLOW MEDIUM REMOVAL";
    READ_CAPACITY = 0x25, "READ CAPACITY(10)";
    READ_10 = 0x28, "READ(10)";
    WRITE_10 = 0x2a, "WRITE(10)";
    SEEK_10 = 0x2b, "SEEK(10)";
    WRITE_AND_VERIFY_10 = 0x2e, "WRITE AND VERIFY(10)";
    VERIFY_10 = 0x2f, "VERIFY(10)";
    SYNCHRONIZE_CACHE_10 = 0x35, "SYNCHRONIZE CACHE(10)";
    READ_DEFECT_DATA_10 = 0x37, "READ DEFECT DATA(10)";
    WRITE_SAME_10 = 0x41, "WRITE SAME(10)";
    READ_SUB_CHANNEL = 0x42, "READ SUB-CHANNEL, UNMAP";
    READ_TOC = 0x43, "READ TOC/PMA/ATIP";
    READ_HEADER = 0x44, "READ HEADER";
    PLAY_AUDIO_10 = 0x45, "PLAY AUDIO(10)";
    GET_CONFIGURATION = 0x46, "GET CONFIGURATION";
    PLAY_AUDIO_MSF = 0x47, "PLAY AUDIO MSF";
    GET_EVENT_STATUS_NOTIFICATION = 0x4a, "GET EVENT STATUS NOTIFICATION";
    PAUSE_RESUME = 0x4b, "PAUSE/RESUME";
    LOG_SENSE = 0x4d, "LOG SENSE";
    STOP_PLAY_SCAN = 0x4e, "STOP PLAY/SCAN";
    READ_DISC_INFORMATION = 0x51, "READ DISC INFORMATION";
    READ_TRACK_INFORMATION = 0x52, "READ TRACK INFORMATION";
    MODE_SELECT_10 = 0x55, "MODE SELECT(10)";
    RESERVE_10 = 0x56, "RESERVE(10)";
    RELEASE_10 = 0x57, "RELEASE(10)";
    MODE_SENSE_10 = 0x5a, "MODE SENSE(10)";
    READ_16 = 0x88, "READ(16)";
    WRITE_16 = 0x8a, "WRITE(16)";
    WRITE_AND_VERIFY_16 = 0x8e, "WRITE AND VERIFY(16)";
    VERIFY_16 = 0x8f, "VERIFY(16)";
    SYNCHRONIZE_CACHE_16 = 0x91, "SYNCHRONIZE CACHE(16)";
    WRITE_SAME_16 = 0x93, "WRITE SAME(16)";
    SERVICE_ACTION_IN_16 = 0x9e, "SERVICE ACTION IN(16)";
    REPORT_LUNS = 0xa0, "REPORT LUNS";
    PLAY_AUDIO_12 = 0xa5, "PLAY AUDIO(12)";
    SET_READ_AHEAD = 0xa7, "SET READ AHEAD";
    READ_12 = 0xa8, "READ(12)";
    WRITE_12 = 0xaa, "WRITE(12)";
    READ_DVD_STRUCTURE = 0xad, "READ DVD STRUCTURE";
    WRITE_AND_VERIFY_12 = 0xae, "WRITE AND VERIFY(12)";
    VERIFY_12 = 0xaf, "VERIFY(12)";
    READ_DEFECT_DATA_12 = 0xb7, "READ DEFECT DATA(12)";
    READ_CD_MSF = 0xb9, "READ CD MSF";
    SET_CD_SPEED = 0xbb, "SET CD SPEED";
    MECHANISM_STATUS = 0xbd, "MECHANISM STATUS";
    READ_CD = 0xbe, "READ CD";
}
