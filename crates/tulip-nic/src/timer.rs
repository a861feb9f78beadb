//! CSR11, the general-purpose timer.

use slotone_bus::VmInstant;

use crate::registers::{csr6, csr11};

/// Nanoseconds of a step by the port that CSR6 selects: 10BASE-T, MII at 10 and at 100 Mbit/s.
pub(crate) fn step(csr6: u32) -> u64 {
    match (csr6 & csr6::PS != 0, csr6 & csr6::TTM != 0) {
        (false, _) => 204_800,
        (true, true) => 819_200,
        (true, false) => 81_920,
    }
}

/// The timer: counts down from `from` since `started`, one every `step` nanoseconds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Timer {
    value: u16,
    continuous: bool,
    from: u16,
    started: Option<VmInstant>,
}
slotone_bus::encode_fields!(Timer { value, continuous, from, started });

impl Timer {
    /// CSR11 is written. 0 stops it.
    pub(crate) fn write(&mut self, now: VmInstant, value: u32) {
        self.value = value as u16;
        self.continuous = value & csr11::CON != 0;
        self.from = self.value;
        self.started = (self.value != 0).then_some(now);
    }

    fn left(&self, now: VmInstant, step: u64) -> u16 {
        self.started.map_or(0, |started| {
            let gone = u16::try_from(now.since(started) / step).unwrap_or(u16::MAX);
            self.from.saturating_sub(gone)
        })
    }

    /// CSR11 is read.
    pub(crate) fn read(&self, now: VmInstant, step: u64) -> u32 {
        csr11::ONES | u32::from(self.continuous) << 16 | u32::from(self.left(now, step))
    }

    /// Steps have another length from now on.
    pub(crate) fn change_step(&mut self, now: VmInstant, old: u64) {
        if self.started.is_some() {
            // A step that has begun is whole in the new length; the last one is not lost.
            self.from = self.left(now, old).max(1);
            self.started = Some(now);
        }
    }

    /// When it reaches zero.
    pub(crate) fn deadline(&self, step: u64) -> Option<VmInstant> {
        self.started.map(|started| started + u64::from(self.from) * step)
    }

    /// Whether it has reached zero; starts it again in continuous mode.
    pub(crate) fn expire(&mut self, now: VmInstant, step: u64) -> bool {
        let Some(deadline) = self.deadline(step).filter(|d| *d <= now) else { return false };
        // Nobody looked for more than a whole turn: what was missed is one expiry, not a storm of them.
        let late = deadline + u64::from(self.value) * step <= now;
        self.from = self.value;
        self.started = self.continuous.then_some(if late { now } else { deadline });
        true
    }

    /// Whether some machine can come to this.
    pub(crate) fn is_sound(&self) -> bool {
        self.started.is_none() || (self.value != 0 && self.from != 0 && self.from <= self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MII: u64 = 81_920;

    fn at(steps: u64) -> VmInstant {
        VmInstant::from_nanos(1_000 + steps * MII)
    }

    #[test]
    fn counts_down_once_or_for_ever() {
        let mut t = Timer::default();
        assert_eq!((t.read(at(0), MII), t.deadline(MII)), (0xfffe_0000, None));
        t.write(at(0), 3);
        assert_eq!(t.read(at(2), MII), 0xfffe_0001);
        assert_eq!(t.deadline(MII), Some(at(3)));
        assert!(!t.expire(at(2), MII) && t.expire(at(3), MII) && !t.expire(at(4), MII));
        assert_eq!((t.read(at(4), MII), t.deadline(MII)), (0xfffe_0000, None));
        t.write(at(0), 3 | csr11::CON);
        assert!(t.expire(at(3), MII));
        assert_eq!((t.read(at(4), MII), t.deadline(MII)), (0xffff_0002, Some(at(6))));
        assert!(t.expire(at(100), MII));
        assert_eq!(t.deadline(MII), Some(at(103)));
        t.write(at(0), csr11::CON);
        assert_eq!(t.deadline(MII), None);
    }

    #[test]
    fn the_port_sets_the_step() {
        assert_eq!([0, csr6::PS, csr6::PS | csr6::TTM].map(step), [204_800, 81_920, 819_200]);
        let mut t = Timer::default();
        t.write(at(0), 10);
        t.change_step(at(4), MII);
        assert_eq!(t.deadline(819_200), Some(at(4) + 6 * 819_200));
    }
}
