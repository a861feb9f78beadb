//! One run of one machine: its ports, its screen, what is to happen when.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

use slotone_bus::VmInstant;
use slotone_console::{Image, save_png};
use slotone_host::{BackendSpec, CharBackend, EventThread};
use slotone_s3trio::S3Trio;
use slotone_superio_w83977::{Kbc, Uart};
use slotone_vmm_core::vs2005::name;
use slotone_vmm_core::{DeviceId, Machine, RunExit};

use super::args::Timed;
use super::failure::Failure;
use super::grid;
use super::signals::Signals;

/// Virtual time between two looks at the machine's output.
const STEP: u64 = 10_000_000;

/// The host's time between two looks at the screen.
const FRAME: Duration = Duration::from_millis(50);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The expected text came.
    Expected,
    /// Time is up.
    TimeUp,
    /// The machine stopped.
    Machine(RunExit),
    /// A signal stopped it.
    Signal(i32),
}

/// Watches a stream for a text.
#[derive(Debug)]
struct Expect {
    text: Vec<u8>,
    tail: Vec<u8>,
}

impl Expect {
    fn feed(&mut self, bytes: &[u8]) -> bool {
        self.tail.extend_from_slice(bytes);
        let found = self.tail.windows(self.text.len()).any(|w| w == self.text);
        let keep = self.tail.len().saturating_sub(self.text.len());
        self.tail.drain(..keep);
        found
    }
}

/// What is to happen at a virtual time.
#[derive(Debug)]
enum Action {
    Screenshot(String),
    Type(String),
    Save(std::path::PathBuf),
}

/// A machine with its ports connected.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) machine: Machine,
    serial: Vec<(DeviceId, CharBackend)>,
    /// Everything that came out of serial port 1.
    pub(crate) transcript: Option<Vec<u8>>,
    expect: Option<Expect>,
    due: Vec<(VmInstant, Action)>,
    at_exit: Vec<String>,
    /// A file that was asked for is not there.
    missed: bool,
    /// Disks of which a failure was told.
    failed: BTreeSet<String>,
    pub(crate) started: Instant,
    signals: Signals,
    _events: EventThread,
}

/// A line to the user, if there still is one.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "virtual-server-2005: {message}");
}

fn instant(seconds: f64) -> VmInstant {
    VmInstant::from_nanos((seconds * 1e9) as u64)
}

impl Session {
    /// Connects the machine's serial ports, and has signals stop it.
    pub(crate) fn new(machine: Machine, serial: &[BackendSpec], signals: &Signals) -> Result<Self, Failure> {
        signals.stops(machine.remote());
        let events = EventThread::start()?;
        let mut ports = Vec::new();
        for (device, spec) in [name::UART0, name::UART1].iter().zip(serial) {
            let Some(id) = machine.find(device) else { continue };
            let remote = machine.remote();
            let backend = CharBackend::open(spec, &events, move |bytes| {
                let bytes = bytes.to_vec();
                remote.call(move |machine| {
                    if bytes.is_empty() {
                        // The end of the input: nobody is left to wait for.
                        machine.set_wait_for_host(false);
                    }
                    machine.with(id, |uart: &mut Uart, cx| uart.receive(cx, &bytes));
                });
            })?;
            if *spec == BackendSpec::Pty {
                eprintln!("{device}: {}", backend.description());
            }
            ports.push((id, backend));
        }
        Ok(Self {
            machine,
            serial: ports,
            transcript: None,
            expect: None,
            due: Vec::new(),
            at_exit: Vec::new(),
            missed: false,
            failed: BTreeSet::new(),
            started: Instant::now(),
            signals: signals.clone(),
            _events: events,
        })
    }

    /// Ends the run when `text` comes out of serial port 1.
    pub(crate) fn expect(&mut self, text: &str) {
        self.expect = Some(Expect { text: text.as_bytes().to_vec(), tail: Vec::new() });
    }

    /// Takes a picture then, or at the end.
    pub(crate) fn screenshot(&mut self, timed: &Timed) {
        match timed.at {
            Some(at) => self.due.push((instant(at), Action::Screenshot(timed.what.clone()))),
            None => self.at_exit.push(timed.what.clone()),
        }
    }

    /// Types then, or at the start.
    pub(crate) fn type_text(&mut self, timed: &Timed) {
        self.due.push((instant(timed.at.unwrap_or(0.0)), Action::Type(timed.what.clone())));
    }

    /// Saves the machine then.
    pub(crate) fn save_at(&mut self, path: &std::path::Path, seconds: f64) {
        self.due.push((instant(seconds), Action::Save(path.to_path_buf())));
    }

    /// Runs until something ends it; `limit` is a virtual time.
    pub(crate) fn run(&mut self, limit: Option<f64>) -> Result<End, Failure> {
        self.run_showing(limit, &mut |_| ())
    }

    /// As [`Session::run`], with a look at the session about twenty times a second of the host's time.
    pub(crate) fn run_showing(
        &mut self,
        limit: Option<f64>,
        show: &mut dyn FnMut(&Self),
    ) -> Result<End, Failure> {
        let mut shown = Instant::now();
        let limit = limit.map_or(VmInstant::MAX, instant);
        self.due.sort_by_key(|(at, _)| *at);
        let end = loop {
            self.act_on_due()?;
            if let Some(signal) = self.signals.caught() {
                break End::Signal(signal);
            }
            let next = self.due.first().map_or(VmInstant::MAX, |(at, _)| *at);
            let exit = self.machine.run((self.machine.now() + STEP).min(next).min(limit));
            self.tell_disk_errors();
            if self.drain_serial() {
                break End::Expected;
            }
            if shown.elapsed() >= FRAME {
                shown = Instant::now();
                show(self);
            }
            match exit {
                RunExit::Limit if self.machine.now() >= limit => break End::TimeUp,
                RunExit::Limit => {}
                // Of a signal, as is seen above, or the user's.
                RunExit::Stopped if self.signals.caught().is_some() => {}
                other => break End::Machine(other),
            }
        };
        // What is due at the limit is not late.
        self.act_on_due()?;
        for path in std::mem::take(&mut self.at_exit) {
            self.take_screenshot(&path)?;
        }
        Ok(end)
    }

    /// Says why a disk failed on the host, once for each: the guest knows only that it did.
    fn tell_disk_errors(&mut self) {
        for error in self.machine.take_disk_errors() {
            if self.failed.insert(error.medium.clone()) {
                complain(&error.to_string());
            }
        }
    }

    /// Says which files the run has ended before; returns whether every file that was asked for at a time is there.
    pub(crate) fn all_reached(&mut self) -> bool {
        for (at, action) in std::mem::take(&mut self.due) {
            let (file, flag) = match action {
                Action::Screenshot(path) => (path, "--screenshot"),
                Action::Save(path) => (path.display().to_string(), "--save-at"),
                Action::Type(_) => continue,
            };
            self.missed = true;
            complain(&format!(
                "{file}: not written: the machine ended after {:.3} s, before the {} s of {flag}",
                self.machine.now().as_nanos() as f64 / 1e9,
                at.as_nanos() as f64 / 1e9
            ));
        }
        !self.missed
    }

    fn act_on_due(&mut self) -> Result<(), Failure> {
        while let Some((at, _)) = self.due.first()
            && *at <= self.machine.now()
        {
            let (_, action) = self.due.remove(0);
            self.act(action)?;
        }
        Ok(())
    }

    /// Does what is due. A file that cannot be written is no reason to end a guest in the middle of its work.
    fn act(&mut self, action: Action) -> Result<(), Failure> {
        let written = match action {
            Action::Screenshot(path) => self.take_screenshot(&path),
            Action::Type(text) => {
                let typed = self
                    .machine
                    .find(name::KBC)
                    .and_then(|id| self.machine.with(id, |kbc: &mut Kbc, cx| kbc.type_text(cx, &text)));
                return match typed {
                    Some(Err(e)) => Err(Failure::usage(format!("--type '{text}': {e}"))),
                    _ => Ok(()),
                };
            }
            Action::Save(path) => self.save(&path),
        };
        if let Err(failure) = written {
            self.missed = true;
            complain(&failure.message);
        }
        Ok(())
    }

    /// Writes the machine's state to a file.
    pub(crate) fn save(&self, path: &std::path::Path) -> Result<(), Failure> {
        let state = self.machine.save()?;
        std::fs::write(path, state)
            .map_err(|e| Failure::usage(format!("{}: {e}; check the folder and its room", path.display())))
    }

    /// Moves output to the back ends. Returns whether the expected text came.
    fn drain_serial(&mut self) -> bool {
        let mut found = false;
        let first = self.machine.find(name::UART0);
        let ports = [name::UART0, name::UART1].into_iter().filter_map(|n| self.machine.find(n));
        for id in ports.collect::<Vec<_>>() {
            let bytes = self.machine.with(id, |uart: &mut Uart, _| uart.take_output()).unwrap_or_default();
            if bytes.is_empty() {
                continue;
            }
            if let Some((_, backend)) = self.serial.iter().find(|(i, _)| *i == id) {
                backend.write(&bytes);
            }
            if Some(id) == first {
                found |= self.expect.as_mut().is_some_and(|e| e.feed(&bytes));
                if let Some(transcript) = &mut self.transcript {
                    transcript.extend_from_slice(&bytes);
                }
            }
        }
        found
    }

    /// The screen as a file: a PNG, or the cells of a text screen if the name ends in `.txt`.
    pub(crate) fn take_screenshot(&self, path: &str) -> Result<(), Failure> {
        let file = std::path::Path::new(path);
        if file.extension().is_some_and(|e| e == "txt") {
            let Some(screen) = self.text_screen() else {
                return Err(Failure::usage(format!("{path}: the screen is not in a text mode; save a .png")));
            };
            return std::fs::write(file, grid::to_text(&screen))
                .map_err(|e| Failure::usage(format!("{path}: {e}; check the folder and its room")));
        }
        let Some(frame) = self.frame() else {
            return Err(Failure::usage(format!(
                "{path}: the machine has no video device to take a picture of"
            )));
        };
        let image = Image { width: frame.width, height: frame.height, rgb: &frame.rgb };
        Ok(save_png(file, &image)?)
    }

    /// The screen as a picture.
    pub(crate) fn frame(&self) -> Option<slotone_s3trio::Frame> {
        let id = self.machine.find(name::VGA)?;
        let vram = self.machine.lent(id, S3Trio::VRAM)?;
        let bytes = vram.slice(0, vram.len()).ok()?;
        Some(self.machine.device::<S3Trio>(id)?.render(bytes, self.machine.now()))
    }

    /// The text screen, while the video device is in a text mode.
    pub(crate) fn text_screen(&self) -> Option<slotone_s3trio::TextScreen> {
        let id = self.machine.find(name::VGA)?;
        let vram = self.machine.lent(id, S3Trio::VRAM)?;
        self.machine.device::<S3Trio>(id)?.text_screen(vram.slice(0, vram.len()).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_split_over_writes_is_found() {
        let mut e = Expect { text: b"GUEST".to_vec(), tail: Vec::new() };
        assert!(!e.feed(b"xxGU"));
        assert!(!e.feed(b"ES"));
        assert!(e.feed(b"Tyy"));
    }
}
