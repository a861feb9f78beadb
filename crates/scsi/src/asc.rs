//! Additional sense codes by their names in SPC-4 (annex F).

/// Code, qualifier, name: in order.
const NAMES: &[(u8, u8, &str)] = &[
    (0x00, 0x00, "no additional sense information"),
    (0x00, 0x11, "audio play operation in progress"),
    (0x00, 0x12, "audio play operation paused"),
    (0x00, 0x13, "audio play operation successfully completed"),
    (0x00, 0x14, "audio play operation stopped due to error"),
    (0x00, 0x15, "no current audio status to return"),
    (0x00, 0x16, "operation in progress"),
    (0x00, 0x1d, "ATA pass through information available"),
    (0x01, 0x00, "no index/sector signal"),
    (0x02, 0x00, "no seek complete"),
    (0x03, 0x00, "peripheral device write fault"),
    (0x04, 0x00, "logical unit not ready, cause not reportable"),
    (0x04, 0x01, "logical unit is in process of becoming ready"),
    (0x04, 0x02, "logical unit not ready, initializing command required"),
    (0x04, 0x03, "logical unit not ready, manual intervention required"),
    (0x04, 0x04, "logical unit not ready, format in progress"),
    (0x04, 0x07, "logical unit not ready, operation in progress"),
    (0x04, 0x08, "logical unit not ready, long write in progress"),
    (0x04, 0x09, "logical unit not ready, self-test in progress"),
    (0x04, 0x0a, "logical unit not accessible, asymmetric access state transition"),
    (0x04, 0x0b, "logical unit not accessible, target port in standby state"),
    (0x04, 0x0c, "logical unit not accessible, target port in unavailable state"),
    (0x04, 0x11, "logical unit not ready, notify (enable spinup) required"),
    (0x04, 0x1b, "logical unit not ready, sanitize in progress"),
    (0x05, 0x00, "logical unit does not respond to selection"),
    (0x06, 0x00, "no reference position found"),
    (0x07, 0x00, "multiple peripheral devices selected"),
    (0x08, 0x00, "logical unit communication failure"),
    (0x08, 0x01, "logical unit communication time-out"),
    (0x08, 0x02, "logical unit communication parity error"),
    (0x08, 0x03, "logical unit communication CRC error (Ultra-DMA/32)"),
    (0x09, 0x00, "track following error"),
    (0x09, 0x04, "head select fault"),
    (0x0a, 0x00, "error log overflow"),
    (0x0b, 0x00, "warning"),
    (0x0b, 0x01, "warning - specified temperature exceeded"),
    (0x0c, 0x00, "write error"),
    (0x0c, 0x01, "write error - recovered with auto reallocation"),
    (0x0c, 0x02, "write error - auto reallocation failed"),
    (0x0c, 0x03, "write error - recommend reassignment"),
    (0x0c, 0x09, "write error - loss of streaming"),
    (0x0c, 0x0d, "write error - not enough unsolicited data"),
    (0x0e, 0x00, "invalid information unit"),
    (0x10, 0x00, "ID CRC or ECC error"),
    (0x10, 0x01, "logical block guard check failed"),
    (0x10, 0x02, "logical block application tag check failed"),
    (0x10, 0x03, "logical block reference tag check failed"),
    (0x11, 0x00, "unrecovered read error"),
    (0x11, 0x01, "read retries exhausted"),
    (0x11, 0x02, "error too long to correct"),
    (0x11, 0x03, "multiple read errors"),
    (0x11, 0x04, "unrecovered read error - auto reallocate failed"),
    (0x11, 0x05, "L-EC uncorrectable error"),
    (0x11, 0x06, "CIRC unrecovered error"),
    (0x11, 0x0a, "miscorrected error"),
    (0x11, 0x0b, "unrecovered read error - recommend reassignment"),
    (0x11, 0x14, "read error - LBA marked bad by application client"),
    (0x12, 0x00, "address mark not found for ID field"),
    (0x13, 0x00, "address mark not found for data field"),
    (0x14, 0x00, "recorded entity not found"),
    (0x14, 0x01, "record not found"),
    (0x15, 0x00, "random positioning error"),
    (0x15, 0x01, "mechanical positioning error"),
    (0x15, 0x02, "positioning error detected by read of medium"),
    (0x16, 0x00, "data synchronization mark error"),
    (0x17, 0x00, "recovered data with no error correction applied"),
    (0x17, 0x01, "recovered data with retries"),
    (0x18, 0x00, "recovered data with error correction applied"),
    (0x18, 0x01, "recovered data with error corr. & retries applied"),
    (0x19, 0x00, "defect list error"),
    (0x1a, 0x00, "parameter list length error"),
    (0x1b, 0x00, "synchronous data transfer error"),
    (0x1c, 0x00, "defect list not found"),
    (0x1d, 0x00, "miscompare during verify operation"),
    (0x1e, 0x00, "recovered ID with ECC correction"),
    (0x1f, 0x00, "partial defect list transfer"),
    (0x20, 0x00, "invalid command operation code"),
    (0x20, 0x02, "access denied - no access rights"),
    (0x21, 0x00, "logical block address out of range"),
    (0x21, 0x02, "invalid address for write"),
    (0x22, 0x00, "illegal function (use 20 00, 24 00, or 26 00)"),
    (0x24, 0x00, "invalid field in CDB"),
    (0x25, 0x00, "logical unit not supported"),
    (0x26, 0x00, "invalid field in parameter list"),
    (0x26, 0x01, "parameter not supported"),
    (0x26, 0x02, "parameter value invalid"),
    (0x26, 0x03, "threshold parameters not supported"),
    (0x26, 0x04, "invalid release of persistent reservation"),
    (0x27, 0x00, "write protected"),
    (0x27, 0x01, "hardware write protected"),
    (0x27, 0x02, "logical unit software write protected"),
    (0x27, 0x07, "space allocation failed write protect"),
    (0x28, 0x00, "not ready to ready change, medium may have changed"),
    (0x29, 0x00, "power on, reset, or bus device reset occurred"),
    (0x29, 0x01, "power on occurred"),
    (0x29, 0x02, "SCSI bus reset occurred"),
    (0x29, 0x03, "bus device reset function occurred"),
    (0x29, 0x04, "device internal reset"),
    (0x29, 0x05, "transceiver mode changed to single-ended"),
    (0x29, 0x06, "transceiver mode changed to LVD"),
    (0x29, 0x07, "I_T nexus loss occurred"),
    (0x2a, 0x00, "parameters changed"),
    (0x2a, 0x01, "mode parameters changed"),
    (0x2a, 0x02, "log parameters changed"),
    (0x2a, 0x03, "reservations preempted"),
    (0x2a, 0x04, "reservations released"),
    (0x2a, 0x05, "registrations preempted"),
    (0x2a, 0x06, "asymmetric access state changed"),
    (0x2a, 0x09, "capacity data has changed"),
    (0x2b, 0x00, "copy cannot execute since host cannot disconnect"),
    (0x2c, 0x00, "command sequence error"),
    (0x2c, 0x09, "previous reservation conflict status"),
    (0x2d, 0x00, "overwrite error on update in place"),
    (0x2e, 0x00, "insufficient time for operation"),
    (0x2f, 0x00, "commands cleared by another initiator"),
    (0x30, 0x00, "incompatible medium installed"),
    (0x30, 0x01, "cannot read medium - unknown format"),
    (0x30, 0x02, "cannot read medium - incompatible format"),
    (0x30, 0x05, "cannot write medium - incompatible format"),
    (0x30, 0x06, "cannot format medium - incompatible medium"),
    (0x31, 0x00, "medium format corrupted"),
    (0x31, 0x01, "format command failed"),
    (0x32, 0x00, "no defect spare location available"),
    (0x32, 0x01, "defect list update failure"),
    (0x34, 0x00, "enclosure failure"),
    (0x35, 0x00, "enclosure services failure"),
    (0x37, 0x00, "rounded parameter"),
    (0x38, 0x07, "thin provisioning soft threshold reached"),
    (0x39, 0x00, "saving parameters not supported"),
    (0x3a, 0x00, "medium not present"),
    (0x3a, 0x01, "medium not present - tray closed"),
    (0x3a, 0x02, "medium not present - tray open"),
    (0x3a, 0x03, "medium not present - loadable"),
    (0x3d, 0x00, "invalid bits in IDENTIFY message"),
    (0x3e, 0x00, "logical unit has not self-configured yet"),
    (0x3e, 0x01, "logical unit failure"),
    (0x3e, 0x02, "timeout on logical unit"),
    (0x3e, 0x03, "logical unit failed self-test"),
    (0x3f, 0x00, "target operating conditions have changed"),
    (0x3f, 0x01, "microcode has been changed"),
    (0x3f, 0x02, "changed operating definition"),
    (0x3f, 0x03, "INQUIRY data has changed"),
    (0x3f, 0x0e, "reported LUNs data has changed"),
    (0x40, 0x00, "RAM failure (should use 40 NN)"),
    (0x41, 0x00, "data path failure (should use 40 NN)"),
    (0x42, 0x00, "power-on or self-test failure (should use 40 NN)"),
    (0x43, 0x00, "message error"),
    (0x44, 0x00, "internal target failure"),
    (0x45, 0x00, "select or reselect failure"),
    (0x46, 0x00, "unsuccessful soft reset"),
    (0x47, 0x00, "SCSI parity error"),
    (0x47, 0x01, "data phase CRC error detected"),
    (0x47, 0x02, "SCSI parity error detected during ST data phase"),
    (0x47, 0x03, "information unit iuCRC error detected"),
    (0x48, 0x00, "initiator detected error message received"),
    (0x49, 0x00, "invalid message error"),
    (0x4a, 0x00, "command phase error"),
    (0x4b, 0x00, "data phase error"),
    (0x4c, 0x00, "logical unit failed self-configuration"),
    (0x4e, 0x00, "overlapped commands attempted"),
    (0x51, 0x00, "erase failure"),
    (0x53, 0x00, "media load or eject failed"),
    (0x53, 0x02, "medium removal prevented"),
    (0x55, 0x00, "system resource failure"),
    (0x55, 0x01, "system buffer full"),
    (0x55, 0x02, "insufficient reservation resources"),
    (0x55, 0x03, "insufficient resources"),
    (0x57, 0x00, "unable to recover table-of-contents"),
    (0x5a, 0x00, "operator request or state change input"),
    (0x5a, 0x01, "operator medium removal request"),
    (0x5d, 0x00, "failure prediction threshold exceeded"),
    (0x5d, 0xff, "failure prediction threshold exceeded (false)"),
    (0x5e, 0x00, "low power condition on"),
    (0x63, 0x00, "end of user area encountered on this track"),
    (0x63, 0x01, "packet does not fit in available space"),
    (0x64, 0x00, "illegal mode for this track"),
    (0x64, 0x01, "invalid packet size"),
    (0x65, 0x00, "voltage fault"),
    (0x6f, 0x00, "copy protection key exchange failure - authentication failure"),
    (0x6f, 0x01, "copy protection key exchange failure - key not present"),
    (0x6f, 0x02, "copy protection key exchange failure - key not established"),
    (0x6f, 0x03, "read of scrambled sector without authentication"),
    (0x6f, 0x04, "media region code is mismatched to logical unit region"),
    (0x6f, 0x05, "drive region must be permanent/region reset count error"),
    (0x72, 0x00, "session fixation error"),
    (0x72, 0x03, "session fixation error - incomplete track in session"),
    (0x72, 0x04, "empty or partially written reserved track"),
    (0x73, 0x00, "CD control error"),
    (0x73, 0x01, "power calibration area almost full"),
    (0x73, 0x02, "power calibration area is full"),
    (0x73, 0x03, "power calibration area error"),
];

/// The name of an additional sense code and its qualifier, if it is one of the usual ones: what the targets of this crate report and what
/// drivers of disks and CD drives meet. `None` for the rarer ones, those of tapes, changers and copy managers, and the vendors' own (from
/// 80h on).
///
/// ```
/// assert_eq!(slotone_scsi::asc::name(0x3a, 0x02), Some("medium not present - tray open"));
/// ```
pub fn name(asc: u8, ascq: u8) -> Option<&'static str> {
    match (asc, ascq) {
        // The qualifier says which.
        (0x40, 0x80..) => Some("diagnostic failure on component NN (80h-FFh)"),
        (0x4d, _) => Some("tagged overlapped commands (NN = task tag)"),
        _ => {
            let at = NAMES.binary_search_by_key(&(asc, ascq), |&(asc, ascq, _)| (asc, ascq)).ok()?;
            Some(NAMES[at].2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_in_order() {
        for pair in NAMES.windows(2) {
            assert!((pair[0].0, pair[0].1) < (pair[1].0, pair[1].1), "{pair:02x?}");
        }
        for (asc, ascq, text) in NAMES {
            assert_eq!(name(*asc, *ascq), Some(*text));
            assert!(*asc < 0x80 && !text.is_empty() && text.is_ascii() && text.trim() == *text, "{text:?}");
        }
    }

    #[test]
    fn qualifiers_that_count_and_codes_without_a_name() {
        assert_eq!(name(0x40, 0xff), name(0x40, 0x80));
        assert_eq!(name(0x40, 0x7f), None);
        assert!(name(0x4d, 0).is_some() && name(0x4d, 0) == name(0x4d, 0xff));
        for (asc, ascq) in [(0x00, 0xff), (0x0d, 0xff), (0x29, 0x7f), (0x80, 0), (0xff, 0xff)] {
            assert_eq!(name(asc, ascq), None, "{asc:02x}/{ascq:02x}");
        }
    }
}
