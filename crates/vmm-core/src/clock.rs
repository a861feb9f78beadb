//! Virtual time: by the host's clock, or by counted instructions.

use slotone_bus::VmInstant;
use std::time::Instant;

/// What virtual time follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockMode {
    /// The host's clock. Late ticks are delivered one by one, never merged: virtual time lags until the guest has seen each.
    #[default]
    Real,
    /// Executed instructions, at [`NANOS_PER_INSTRUCTION`] each. HLT jumps to the next deadline. Two runs with the same inputs are the
    /// same run.
    Counted,
}

/// Virtual nanoseconds of one instruction with [`ClockMode::Counted`]: a 200 MHz processor at one instruction a cycle.
pub const NANOS_PER_INSTRUCTION: u64 = 5;

/// The time-stamp counter runs at 1 GHz of virtual time with either clock.
pub const TSC_HZ: u64 = 1_000_000_000;

/// Where virtual time stands.
#[derive(Debug)]
pub(crate) struct Timebase {
    mode: ClockMode,
    /// Counted: virtual nanoseconds on top of the instructions'. Real: virtual time at `started`.
    offset: u64,
    started: Instant,
}

impl Timebase {
    pub(crate) fn new(mode: ClockMode) -> Self {
        Self { mode, offset: 0, started: Instant::now() }
    }

    pub(crate) fn mode(&self) -> ClockMode {
        self.mode
    }

    /// Virtual time by the clock, with `retired` instructions done.
    pub(crate) fn target(&self, retired: u64) -> VmInstant {
        let passed = match self.mode {
            ClockMode::Counted => retired.wrapping_mul(NANOS_PER_INSTRUCTION),
            ClockMode::Real => self.started.elapsed().as_nanos() as u64,
        };
        VmInstant::from_nanos(self.offset.wrapping_add(passed))
    }

    /// The instruction count at which counted time reaches `deadline` (rounded up).
    pub(crate) fn retired_at(&self, deadline: VmInstant) -> u64 {
        deadline.as_nanos().saturating_sub(self.offset).div_ceil(NANOS_PER_INSTRUCTION)
    }

    /// Sets virtual time: after a jump over idle time, after a restore, or after the machine stood still.
    pub(crate) fn set(&mut self, now: VmInstant, retired: u64) {
        self.started = Instant::now();
        self.offset = match self.mode {
            ClockMode::Counted => now.as_nanos().wrapping_sub(retired.wrapping_mul(NANOS_PER_INSTRUCTION)),
            ClockMode::Real => now.as_nanos(),
        };
    }
}
