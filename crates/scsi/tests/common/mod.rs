//! Commands of initiator 0.
#![allow(dead_code, reason = "not every test program needs all of it")]

use slotone_scsi::{Command, Reply, Target};

pub(crate) fn run(target: &mut dyn Target, cdb: &[u8]) -> Reply {
    target.command(&Command::new(cdb))
}

pub(crate) fn data(target: &mut dyn Target, cdb: &[u8]) -> Vec<u8> {
    match run(target, cdb) {
        Reply::DataIn(data) => data,
        other => panic!("{cdb:02x?}: {other:?}"),
    }
}

/// Sense key, additional sense code and qualifier.
pub(crate) fn check(target: &mut dyn Target, cdb: &[u8]) -> [u8; 3] {
    match run(target, cdb) {
        Reply::Check(s) => [s.key.code(), s.asc, s.ascq],
        other => panic!("{cdb:02x?}: {other:?}"),
    }
}
