//! Small helpers shared by the blocks.

use slotone_bus::state::StateError;
use slotone_bus::{InspectValue, Inspector};

/// Serves an access byte by byte: `register` hears the offset of every byte.
pub(crate) fn read_bytes(offset: u64, data: &mut [u8], mut register: impl FnMut(u64) -> u8) {
    for (lane, byte) in (0u64..).zip(data) {
        *byte = register(offset.wrapping_add(lane));
    }
}

/// The counterpart of [`read_bytes`].
pub(crate) fn write_bytes(offset: u64, data: &[u8], mut register: impl FnMut(u64, u8)) {
    for (lane, byte) in (0u64..).zip(data) {
        register(offset.wrapping_add(lane), *byte);
    }
}

/// Shows a register.
pub(crate) fn show(out: &mut Inspector<'_>, name: &str, value: impl Into<u64>, bits: u8) {
    out(name, InspectValue::Register { value: value.into(), bits });
}

/// Refuses a restored value unless `holds`.
pub(crate) fn check(section: &str, holds: bool, what: &str) -> Result<(), StateError> {
    if holds {
        Ok(())
    } else {
        Err(StateError::Invalid { section: section.to_string(), what: what.to_string() })
    }
}
