//! Sizes, progress, interruption, exit status.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use slotone_vhd::{Error, ErrorKind};

/// What goes to standard error, and the exit status.
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) code: u8,
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        let code = match e.kind() {
            ErrorKind::ParentNotFound { .. }
            | ErrorKind::ParentModified { .. }
            | ErrorKind::ParentTooLarge { .. } => 5,
            ErrorKind::ChainCycle(_) | ErrorKind::ChainTooDeep(_) => 5,
            ErrorKind::Interrupted => 130,
            _ => 2,
        };
        let hint = match e.kind() {
            ErrorKind::ParentNotFound { .. } => "\nIf it was moved: vhd reconnect CHILD --parent PARENT",
            ErrorKind::UndoActive { .. } => "\nvhd undo status PATH tells more",
            ErrorKind::EntryPastEnd { .. }
            | ErrorKind::EntryInMetadata { .. }
            | ErrorKind::EntriesOverlap { .. }
            | ErrorKind::HeaderChecksum { .. } => {
                "\nvhd check PATH lists all damage, --repair puts right what can be"
            }
            _ => "",
        };
        Self { message: format!("{e}{hint}"), code }
    }
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        Self::new(e.to_string())
    }
}

/// Set when the user wants it to end.
pub(crate) type Stop = Arc<AtomicBool>;

pub(crate) fn stop_on_signals() -> Result<Stop, Failure> {
    let stop = Stop::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// A size on the command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let digits = s.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match s[digits.len()..].to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err("expected a number with K, M, G or T".into()),
        };
        let n: u64 = digits.parse().map_err(|_| "expected a number with K, M, G or T".to_owned())?;
        n.checked_mul(1 << shift).map(Self).ok_or_else(|| "too large".into())
    }
}

/// For people: bytes, and the nearest round unit.
pub(crate) fn bytes(n: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| n >= 1 << shift) {
        Some((unit, shift)) if n.trailing_zeros() >= shift => format!("{n} bytes ({} {unit})", n >> shift),
        Some((unit, shift)) => format!("{n} bytes ({:.2} {unit})", n as f64 / (1u64 << shift) as f64),
        None => format!("{n} bytes"),
    }
}

/// A bar on a terminal, nothing elsewhere; stops when told to.
pub(crate) struct Bar {
    bar: ProgressBar,
    stop: Stop,
}

impl Bar {
    pub(crate) fn new(what: &'static str, stop: &Stop) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {percent}% {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what);
        Self { bar, stop: stop.clone() }
    }

    pub(crate) fn step(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        self.bar.set_length(total);
        self.bar.set_position(done);
        if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
