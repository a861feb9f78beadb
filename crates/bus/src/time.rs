//! Virtual time: u64 nanoseconds since the machine was powered on, and chip clocks as exact fractions.

use core::fmt;
use core::ops::{Add, Sub};

/// A point of virtual time, in nanoseconds since power-on. Wraps after 584 years, which no caller has to handle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VmInstant(u64);

impl VmInstant {
    /// Power-on.
    pub const ZERO: Self = Self(0);
    /// The end of time: a deadline that never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after power-on.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since power-on.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Nanoseconds from `earlier` to `self`; 0 when `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for VmInstant {
    type Output = Self;
    /// The instant `nanos` later; saturates at [`VmInstant::MAX`].
    fn add(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub<VmInstant> for VmInstant {
    type Output = u64;
    fn sub(self, earlier: VmInstant) -> u64 {
        self.since(earlier)
    }
}

impl fmt::Debug for VmInstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// The clock of a chip as a fraction of hertz, so that no tick is ever lost to rounding.
///
/// ```
/// use slotone_bus::{Clock, VmInstant};
/// // The n-th tick has happened once its (rounded up) instant is reached, and not a nanosecond before.
/// let t = Clock::PIT.instant_of(1);
/// assert_eq!(t, VmInstant::from_nanos(839)); // 838.095 ns, rounded up
/// assert_eq!(Clock::PIT.ticks_at(t), 1);
/// assert_eq!(Clock::PIT.ticks_at(VmInstant::from_nanos(838)), 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    numerator: u64,
    denominator: u64,
}

impl Clock {
    /// The 8254's input: 14.31818 MHz / 12 = 1.193181(81) MHz.
    pub const PIT: Self = Self::new(13_125_000, 11);
    /// The ACPI power-management timer: 14.31818 MHz / 4 = 3.579545(45) MHz.
    pub const PM_TIMER: Self = Self::new(39_375_000, 11);
    /// The watch crystal: 32.768 kHz.
    pub const RTC: Self = Self::new(32_768, 1);

    /// A clock of `numerator / denominator` hertz.
    ///
    /// # Panics
    /// If either is zero: a clock stands in a chip's code, never in guest input.
    pub const fn new(numerator: u64, denominator: u64) -> Self {
        assert!(numerator != 0 && denominator != 0, "a clock has a frequency");
        Self { numerator, denominator }
    }

    /// Whole ticks completed at `t`, counted from power-on.
    pub const fn ticks_at(self, t: VmInstant) -> u64 {
        ((t.0 as u128 * self.numerator as u128) / (self.denominator as u128 * 1_000_000_000)) as u64
    }

    /// The first instant at which `ticks` whole ticks have completed (rounded up); saturates.
    pub const fn instant_of(self, ticks: u64) -> VmInstant {
        let wide = ticks as u128 * self.denominator as u128;
        // 64 + 64 bits of product leave no room for the factor 10^9: divide first, then scale the remainder.
        let seconds = wide / self.numerator as u128;
        let rest = wide % self.numerator as u128;
        let nanos = (rest * 1_000_000_000).div_ceil(self.numerator as u128);
        if seconds >= (u64::MAX / 1_000_000_000) as u128 {
            return VmInstant::MAX;
        }
        VmInstant(seconds as u64 * 1_000_000_000 + nanos as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn instant_of_is_the_least_instant_with_that_many_ticks(ticks in 0u64..1 << 44) {
            for clock in [Clock::PIT, Clock::PM_TIMER, Clock::RTC, Clock::new(33_000_000, 1)] {
                let t = clock.instant_of(ticks);
                prop_assert_eq!(clock.ticks_at(t), ticks);
                if t.as_nanos() > 0 {
                    prop_assert!(clock.ticks_at(VmInstant::from_nanos(t.as_nanos() - 1)) < ticks.max(1));
                }
            }
        }
    }
}
