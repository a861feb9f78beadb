//! The machine's screen and keyboard in the terminal.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use slotone_console::{Image, KeyEvent, TerminalKeys, TerminalScreen, TextGrid};
use slotone_host::{BackendSpec, EventThread, RawTerminal};
use slotone_s3trio::TextScreen;
use slotone_superio_w83977::{Kbc, KeyCode};
use slotone_vmm_core::vs2005::name;
use slotone_vmm_core::{DeviceId, Machine, Remote};

use super::args::{Args, ScreenArg};
use super::failure::Failure;
use super::session::Session;

/// Ctrl-]: ends the program, as in telnet.
const LEAVE_KEY: u8 = 0x1d;

/// The machine's screen in the terminal while it runs; nothing if there is no terminal.
pub(crate) struct Screen(Option<TerminalScreen>);

impl Screen {
    /// By `--screen`: the terminal if there is one and no serial port uses it.
    pub(crate) fn of(args: &Args) -> Self {
        let wanted = args.screen.as_ref().is_none_or(|s| *s == ScreenArg::Terminal);
        let size =
            slotone_host::terminal_size().filter(|_| wanted && !args.serial.contains(&BackendSpec::Stdio));
        if size.is_some() {
            print!("{}", TerminalScreen::ENTER);
        }
        Self(size.map(|(columns, rows)| TerminalScreen::new(columns.into(), rows.into())))
    }

    /// Whether anybody sees it.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Prints what has changed since the last time.
    pub(crate) fn show(&mut self, session: &Session) {
        let Some(terminal) = &mut self.0 else { return };
        let output = match (session.text_screen(), session.frame()) {
            (Some(screen), _) => terminal.text(&grid(&screen)),
            (None, Some(frame)) => {
                terminal.image(&Image { width: frame.width, height: frame.height, rgb: &frame.rgb })
            }
            (None, None) => String::new(),
        };
        let mut out = std::io::stdout().lock();
        // A terminal that has gone away is nobody to tell.
        let _ = out.write_all(output.as_bytes()).and_then(|()| out.flush());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.0.is_some() {
            // Nor is one that has gone away anything to tidy up.
            let _ = std::io::stdout().write_all(TerminalScreen::LEAVE.as_bytes());
        }
    }
}

fn grid(screen: &TextScreen) -> TextGrid<'_> {
    TextGrid {
        columns: screen.columns,
        rows: screen.rows,
        cells: &screen.cells,
        cursor: screen.cursor.as_ref().map(|c| (c.column, c.row)),
        blink: screen.blink,
    }
}

/// The terminal's keys at the machine's keyboard until dropped. Ctrl-] stops the machine.
#[derive(Debug)]
pub(crate) struct Keyboard {
    _raw: RawTerminal,
    _events: EventThread,
}

impl Keyboard {
    /// Takes the terminal behind standard input; `None` if there is none, or no keyboard in the machine.
    pub(crate) fn take(machine: &Machine) -> Result<Option<Self>, Failure> {
        let (Some(id), Some(raw)) = (machine.find(name::KBC), RawTerminal::enter()?) else { return Ok(None) };
        let events = EventThread::start()?;
        let remote = machine.remote();
        let mut keys = TerminalKeys::default();
        let input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        events.read(input, move |bytes| {
            if bytes.contains(&LEAVE_KEY) {
                remote.stop();
                return;
            }
            let mut strokes = keys.feed(bytes);
            // A terminal sends a key's whole sequence at once: what is left over is a key of its own.
            strokes.extend(keys.flush());
            press(&remote, id, strokes);
        })?;
        Ok(Some(Self { _raw: raw, _events: events }))
    }
}

fn press(remote: &Remote, id: DeviceId, strokes: Vec<KeyEvent>) {
    remote.call(move |machine| {
        for stroke in strokes {
            // The keyboard controller knows the same keys by the same names.
            if let Some(code) = KeyCode::from_name(stroke.key.name()) {
                machine.with(id, |kbc: &mut Kbc, cx| kbc.key(cx, code, stroke.pressed));
            }
        }
    });
}
