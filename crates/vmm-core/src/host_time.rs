//! How much of the host's processor time each device takes: sampled, and only when somebody asks.
//!
//! It is the time of the machine's thread and, apart from it, of the threads that carry out disk requests (on Linux; elsewhere the host's clock): what
//! others make of the processor meanwhile, and what a request waits for a medium, is not in it. One call in about sixteen is timed, at random distances so that no habit of a guest falls in step with them; long work (disk requests) is
//! timed always. Nothing here is part of the machine's state, and nothing in the machine depends on it.

/// What a device took of the machine's thread since [`crate::Machine::measure_host_time`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct HostTime {
    /// Calls into the device: accesses, input lines, ticks, interrupt acknowledges, and each time its network port was served.
    pub calls: u64,
    /// Seconds that the machine's thread computed in these calls, in the device's disk requests as far as this thread carried them out, and in
    /// its network port, the host's kernel included. Calls into other devices that a call caused count for these. An estimate by samples,
    /// the cost of taking the time left out.
    pub seconds: f64,
    /// Seconds that other threads computed in the device's disk requests: those that are over, of slow media with the real clock. Measured, not
    /// sampled. Threads of network ports are not in it.
    pub thread_seconds: f64,
}

/// The mean distance of samples is half of this, and one half.
const DISTANCES: u64 = 31;
/// Readings of the clock by which its own cost is found.
const READINGS: usize = 1_001;

/// Nanoseconds of processor time that this thread has had.
#[cfg(target_os = "linux")]
pub(crate) fn clock() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Nanoseconds of the host's clock.
#[cfg(not(target_os = "linux"))]
pub(crate) fn clock() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[derive(Debug, Clone, Copy, Default)]
struct Account {
    calls: u64,
    /// Calls until the next that is timed.
    distance: u64,
    samples: u64,
    /// Nanoseconds of the samples.
    sampled: u64,
    /// Nanoseconds of what is always timed.
    long: u64,
    /// Nanoseconds of other threads.
    threads: u64,
}

/// The accounts of a board's devices.
#[derive(Debug, Default)]
pub(crate) struct HostTimes {
    /// One a device; none while nobody asks.
    accounts: Vec<Account>,
    random: u64,
    /// Nanoseconds that two readings of the clock are apart with nothing between them.
    own: u64,
    /// Nanoseconds of all long work so far.
    long: u64,
}

/// A call that is being timed.
#[derive(Debug)]
pub(crate) struct Sample {
    started: u64,
    /// All long work before it.
    long: u64,
}

impl HostTimes {
    /// Begins anew for `devices`; none: no longer measures.
    pub(crate) fn start(&mut self, devices: usize) {
        *self = Self { accounts: vec![Account::default(); devices], random: 1, ..Self::default() };
        if devices > 0 {
            let mut readings: Vec<u64> = (0..READINGS).map(|_| Self::since(clock())).collect();
            readings.sort_unstable();
            self.own = readings[READINGS / 2];
        }
    }

    fn since(started: u64) -> u64 {
        clock().saturating_sub(started)
    }

    /// A device is called.
    #[inline]
    pub(crate) fn call(&mut self, device: u16) -> Option<Sample> {
        let account = self.accounts.get_mut(usize::from(device))?;
        account.calls += 1;
        account.distance = account.distance.saturating_sub(1);
        (account.distance == 0).then(|| self.sample(device))
    }

    #[cold]
    fn sample(&mut self, device: u16) -> Sample {
        // Xorshift: its high bits are random enough to be out of step with anything.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.accounts[usize::from(device)].distance = 1 + (self.random >> 32) % DISTANCES;
        // The first reading brings the clock's code and data near; it would cost more than the one it was calibrated with.
        clock();
        Sample { long: self.long, started: clock() }
    }

    /// The call is over.
    #[inline]
    pub(crate) fn returned(&mut self, device: u16, sample: Option<Sample>) {
        if let Some(sample) = sample {
            let nanos = Self::since(sample.started);
            let account = &mut self.accounts[usize::from(device)];
            account.samples += 1;
            account.sampled += nanos.saturating_sub(self.own + (self.long - sample.long));
        }
    }

    /// Work begins that is always timed.
    pub(crate) fn long(&self) -> Option<u64> {
        (!self.accounts.is_empty()).then(clock)
    }

    /// It is over.
    pub(crate) fn long_over(&mut self, device: u16, started: Option<u64>) {
        if let (Some(started), Some(account)) = (started, self.accounts.get_mut(usize::from(device))) {
            let nanos = Self::since(started);
            self.long += nanos;
            account.long += nanos.saturating_sub(self.own);
        }
    }

    /// Another thread has computed for a device.
    pub(crate) fn in_thread(&mut self, device: u16, nanos: u64) {
        if let Some(account) = self.accounts.get_mut(usize::from(device)) {
            account.threads += nanos;
        }
    }

    pub(crate) fn of(&self, device: u16) -> HostTime {
        let account = self.accounts.get(usize::from(device)).copied().unwrap_or_default();
        let mean = account.sampled as f64 / account.samples.max(1) as f64;
        let nanos = account.calls as f64 * mean + account.long as f64;
        HostTime { calls: account.calls, seconds: nanos / 1e9, thread_seconds: account.threads as f64 / 1e9 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes so long.
    fn spin(micros: u64) {
        let until = clock() + micros * 1_000;
        while clock() < until {}
    }

    #[test]
    fn nothing_is_measured_unasked() {
        let mut times = HostTimes::default();
        assert!(times.call(0).is_none() && times.long().is_none());
        times.returned(0, None);
        times.long_over(0, None);
        assert_eq!(times.of(0), HostTime::default());
    }

    /// A lower bound holds on the busiest host.
    #[test]
    fn samples_stand_for_all_and_long_work_counts_once() {
        let mut times = HostTimes::default();
        times.start(2);
        let mut sampled = 0;
        for i in 0..2_000 {
            let sample = times.call(0);
            sampled += u32::from(sample.is_some());
            spin(5);
            if i == 1_000 {
                let started = times.long();
                spin(20_000);
                times.long_over(0, started);
            }
            times.returned(0, sample);
        }
        assert!((60..250).contains(&sampled), "{sampled}");
        assert_eq!((times.of(0).calls, times.of(1)), (2_000, HostTime::default()));
        assert!(times.of(0).seconds >= 0.028, "{:?}", times.of(0));
        assert!(times.accounts[0].long >= 19_000_000);
    }

    #[test]
    fn long_work_in_a_sampled_call_is_not_in_the_sample() {
        let mut times = HostTimes::default();
        times.start(1);
        let before = clock();
        let sample = times.call(0);
        assert!(sample.is_some(), "the first call is timed");
        let started = times.long();
        spin(3_000);
        times.long_over(0, started);
        times.returned(0, sample);
        let all = clock() - before;
        assert!(times.accounts[0].sampled + times.accounts[0].long <= all, "{times:?}");
    }

    /// A thread that sleeps takes no processor time.
    #[cfg(target_os = "linux")]
    #[test]
    fn waiting_is_not_computing() {
        let before = clock();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(clock() - before < 25_000_000);
    }
}
