//! The terminal the user sits at.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Puts the controlling terminal into raw mode until dropped, so that every key reaches the guest.
#[derive(Debug)]
pub struct RawTerminal {
    tty: File,
    before: Termios,
}

impl RawTerminal {
    /// Raw mode on the terminal behind standard input; `None` if that is no terminal.
    ///
    /// # Errors
    /// The host's error if the terminal's attributes cannot be read or set.
    pub fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !isatty(&stdin) {
            return Ok(None);
        }
        let tty = File::from(stdin.as_fd().try_clone_to_owned()?);
        let before = tcgetattr(&tty)?;
        let mut raw = before.clone();
        raw.make_raw();
        // Output processing stays on: "\n" from our own messages still returns the carriage.
        raw.output_modes = before.output_modes;
        tcsetattr(&tty, OptionalActions::Now, &raw)?;
        Ok(Some(Self { tty, before }))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nobody is left to tell if the terminal has gone away.
        let _ = tcsetattr(&self.tty, OptionalActions::Flush, &self.before);
    }
}

/// Columns and rows of the terminal behind standard output; `None` if that is no terminal.
pub fn terminal_size() -> Option<(u16, u16)> {
    let stdout = io::stdout();
    if !isatty(&stdout) {
        return None;
    }
    let size = tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
