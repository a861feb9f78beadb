//! Signals that ask the program to end: they stop the machine, so that its disks are closed and undo sessions get what was asked for.

use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Incoming;
use signal_hook::low_level::emulate_default_handler;
use slotone_vmm_core::Remote;

use super::failure::Failure;

const WANTED: [(i32, &str); 3] = [(SIGHUP, "SIGHUP"), (SIGINT, "SIGINT"), (SIGTERM, "SIGTERM")];

/// Those that come so soon after the first have one cause: a terminal that goes away is told of by its shell and by the kernel.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The first signal that came, and the machine that it stops.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// 0: none.
    caught: AtomicI32,
    machine: Mutex<Option<Remote>>,
}

impl Signals {
    /// Takes SIGHUP, SIGINT and SIGTERM from now on, except those that whoever started the program had ignored, as nohup does. A second one ends the
    /// program at once, as without this.
    pub(crate) fn take() -> Result<Self, Failure> {
        let ignored = ignored();
        let wanted = WANTED.iter().map(|(signal, _)| *signal);
        let mut incoming = Incoming::new(wanted.filter(|signal| ignored >> (signal - 1) & 1 == 0))?;
        let signals = Self::default();
        let shared = Arc::clone(&signals.0);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            let Some(first) = incoming.forever().next() else { return };
            shared.stop(first);
            std::thread::sleep(AT_ONCE);
            incoming.pending().for_each(drop);
            for second in incoming.forever() {
                // It can fail for signals that cannot be caught only.
                let _ = emulate_default_handler(second);
            }
        })?;
        Ok(signals)
    }

    /// The signal that asked for the end.
    pub(crate) fn caught(&self) -> Option<i32> {
        Some(self.0.caught.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    /// Has this machine stopped when one comes. One that has come already is seen by [`Signals::caught`].
    pub(crate) fn stops(&self, machine: Remote) {
        *self.0.machine.lock().unwrap_or_else(PoisonError::into_inner) = Some(machine);
    }
}

impl Shared {
    fn stop(&self, signal: i32) {
        self.caught.store(signal, Ordering::SeqCst);
        let name = WANTED.iter().find(|(number, _)| *number == signal).map_or("a signal", |(_, name)| name);
        // The terminal may be what has gone away.
        let _ = writeln!(
            std::io::stderr(),
            "virtual-server-2005: {name}: stopping the machine and closing its disks; once more ends at once"
        );
        if let Some(machine) = &*self.machine.lock().unwrap_or_else(PoisonError::into_inner) {
            machine.stop();
        }
    }
}

/// The signals that are ignored, a bit each from signal 1 on. Linux tells it; elsewhere none counts as ignored.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
