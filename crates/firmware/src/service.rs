//! Numbers of the services that are not interrupts.

/// Power-on self test: the reset entry.
pub(crate) const POST: u16 = 0x100;
/// A scan code in AL, from the IRQ 1 handler.
pub(crate) const KEYBOARD: u16 = 0x101;
/// IRQ 8.
pub(crate) const RTC: u16 = 0x102;
/// The video ROM's initialisation.
pub(crate) const VIDEO_INIT: u16 = 0x103;
/// The reset entry's first question: is this a reset with a shutdown code?
pub(crate) const SHUTDOWN: u16 = 0x104;
