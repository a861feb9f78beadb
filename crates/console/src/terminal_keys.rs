//! What a terminal sends, as keys.

use crate::keys::{KeyCode, KeyEvent, chord};

/// Longest sequence that is waited for; more is dropped.
const LONGEST: usize = 32;

/// Decodes the bytes of a terminal in raw mode: ASCII, control characters, ANSI and VT220 sequences with modifiers, the Linux console's function
/// keys, and Esc before a key as Alt.
///
/// ```
/// use slotone_console::{KeyCode, TerminalKeys};
/// let mut keys = TerminalKeys::default();
/// let pressed = |events: Vec<_>| events.into_iter().filter(|e: &slotone_console::KeyEvent| e.pressed).map(|e| e.key).collect::<Vec<_>>();
/// assert_eq!(pressed(keys.feed(b"\x1b[A\x03")), [KeyCode::ArrowUp, KeyCode::ControlLeft, KeyCode::C]);
/// // An Esc alone may be the start of a sequence: nothing more came, so it was the key.
/// assert_eq!(keys.feed(b"\x1b"), []);
/// assert_eq!(pressed(keys.flush()), [KeyCode::Esc]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct TerminalKeys {
    pending: Vec<u8>,
}

/// What a sequence at the start of the input is.
enum Parsed {
    /// Keys held, a key, bytes used.
    Key(Vec<KeyCode>, KeyCode, usize),
    /// Bytes that are no key.
    Skip(usize),
    /// The rest is still to come.
    Partial,
}

impl TerminalKeys {
    /// Takes what was read from the terminal and returns the keys it holds; an unfinished sequence is kept for the next call.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<KeyEvent> {
        let mut out = Vec::new();
        for byte in bytes {
            self.pending.push(*byte);
            self.drain(&mut out);
        }
        out
    }

    /// Whether an unfinished sequence waits; the caller then sets a timer of some 25 to 50 ms and calls [`TerminalKeys::flush`].
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Nothing followed: an Esc was the key itself, another unfinished sequence is dropped.
    pub fn flush(&mut self) -> Vec<KeyEvent> {
        let mut out = Vec::new();
        match self.pending.as_slice() {
            [0x1b] => chord(&[], KeyCode::Esc, &mut out),
            [0x1b, c @ (b'[' | b'O')] => {
                if let Some((key, shift)) = KeyCode::from_char(char::from(*c)) {
                    chord(&held(shift, true, false), key, &mut out);
                }
            }
            _ => {}
        }
        self.pending.clear();
        out
    }

    fn drain(&mut self, out: &mut Vec<KeyEvent>) {
        match parse(&self.pending) {
            Parsed::Key(held, key, used) => {
                chord(&held, key, out);
                self.pending.drain(..used);
            }
            Parsed::Skip(used) => drop(self.pending.drain(..used)),
            Parsed::Partial if self.pending.len() > LONGEST => self.pending.clear(),
            Parsed::Partial => {}
        }
    }
}

fn held(shift: bool, alt: bool, control: bool) -> Vec<KeyCode> {
    let all = [(control, KeyCode::ControlLeft), (alt, KeyCode::AltLeft), (shift, KeyCode::ShiftLeft)];
    all.into_iter().filter_map(|(on, key)| on.then_some(key)).collect()
}

/// Parses from the first byte; called after every byte, so at most one key is complete.
fn parse(bytes: &[u8]) -> Parsed {
    match bytes {
        [] => Parsed::Partial,
        [0x1b] => Parsed::Partial,
        [0x1b, b'[', rest @ ..] => csi(rest, bytes.len()),
        [0x1b, b'O', rest @ ..] => match rest {
            [] => Parsed::Partial,
            [last, ..] => match letter(*last) {
                Some(key) => Parsed::Key(Vec::new(), key, 3),
                None => Parsed::Skip(3),
            },
        },
        // Twice Esc: the first was the key.
        [0x1b, 0x1b, ..] => Parsed::Key(Vec::new(), KeyCode::Esc, 1),
        [0x1b, byte, ..] => match single(*byte) {
            Some((key, shift, control)) => Parsed::Key(held(shift, true, control), key, 2),
            None => Parsed::Skip(2),
        },
        [byte, ..] => match single(*byte) {
            Some((key, shift, control)) => Parsed::Key(held(shift, false, control), key, 1),
            None => Parsed::Skip(1),
        },
    }
}

/// One byte that is no sequence: key, Shift, Control.
fn single(byte: u8) -> Option<(KeyCode, bool, bool)> {
    let control = |c: char| KeyCode::from_char(c).map(|(key, shift)| (key, shift, true));
    match byte {
        0x00 => Some((KeyCode::Space, false, true)),
        0x08 | 0x7f => Some((KeyCode::Backspace, false, false)),
        0x09 => Some((KeyCode::Tab, false, false)),
        0x0a | 0x0d => Some((KeyCode::Enter, false, false)),
        0x01..=0x1a => control(char::from(byte + 0x60)),
        0x1c => control('\\'),
        0x1d => control(']'),
        0x1e => control('6'),
        0x1f => control('-'),
        0x20..=0x7e => KeyCode::from_char(char::from(byte)).map(|(key, shift)| (key, shift, false)),
        _ => None,
    }
}

/// The last letter of a cursor or function key sequence.
fn letter(byte: u8) -> Option<KeyCode> {
    Some(match byte {
        b'A' => KeyCode::ArrowUp,
        b'B' => KeyCode::ArrowDown,
        b'C' => KeyCode::ArrowRight,
        b'D' => KeyCode::ArrowLeft,
        b'E' => KeyCode::Numpad5,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        b'M' => KeyCode::NumpadEnter,
        b'P' => KeyCode::F1,
        b'Q' => KeyCode::F2,
        b'R' => KeyCode::F3,
        b'S' => KeyCode::F4,
        _ => return None,
    })
}

/// The number of a `~` sequence.
fn number(n: u32) -> Option<KeyCode> {
    use KeyCode::*;
    Some(match n {
        1 | 7 => Home,
        2 => Insert,
        3 => Delete,
        4 | 8 => End,
        5 => PageUp,
        6 => PageDown,
        11..=15 => [F1, F2, F3, F4, F5][n as usize - 11],
        17..=21 => [F6, F7, F8, F9, F10][n as usize - 17],
        23 | 24 => [F11, F12][n as usize - 23],
        _ => return None,
    })
}

/// What follows `ESC [`; `total` bytes with it.
fn csi(rest: &[u8], total: usize) -> Parsed {
    // The Linux console: ESC [ [ A to E.
    if let [b'[', tail @ ..] = rest {
        return match tail {
            [] => Parsed::Partial,
            [c @ b'A'..=b'E', ..] => match number(u32::from(c - b'A') + 11) {
                Some(key) => Parsed::Key(Vec::new(), key, total),
                None => Parsed::Skip(total),
            },
            _ => Parsed::Skip(total),
        };
    }
    let Some((&last, parameters)) = rest.split_last() else { return Parsed::Partial };
    match last {
        0x20..=0x3f => return Parsed::Partial,
        0x40..=0x7e => {}
        // No sequence goes on like this.
        _ => return Parsed::Skip(total),
    }
    let mut numbers = parameters
        .split(|b| *b == b';')
        .map(|digits| std::str::from_utf8(digits).ok().and_then(|d| d.parse::<u32>().ok()));
    let first = numbers.next().flatten();
    // Modifiers are sent as their bits plus one: 1 Shift, 2 Alt, 4 Control.
    let modifiers = numbers.next().flatten().map_or(0, |m| m.saturating_sub(1));
    let key = match last {
        b'~' => first.and_then(number),
        b'Z' => return Parsed::Key(vec![KeyCode::ShiftLeft], KeyCode::Tab, total),
        other => letter(other),
    };
    match key {
        Some(key) => {
            Parsed::Key(held(modifiers & 1 != 0, modifiers & 2 != 0, modifiers & 4 != 0), key, total)
        }
        None => Parsed::Skip(total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pressed(bytes: &[u8]) -> Vec<KeyCode> {
        let mut keys = TerminalKeys::default();
        let mut events = keys.feed(bytes);
        events.extend(keys.flush());
        events.iter().filter(|e| e.pressed).map(|e| e.key).collect()
    }

    #[test]
    fn characters() {
        use KeyCode::*;
        assert_eq!(pressed(b"aB \r\x7f\t"), [A, ShiftLeft, B, Space, Enter, Backspace, Tab]);
        assert_eq!(
            pressed(b"\x01\x1a\x00\x1c"),
            [ControlLeft, A, ControlLeft, Z, ControlLeft, Space, ControlLeft, Backslash]
        );
        assert_eq!(pressed("aéb".as_bytes()), [A, B]);
    }

    #[test]
    fn sequences() {
        use KeyCode::*;
        assert_eq!(
            pressed(b"\x1b[A\x1bOB\x1b[1;5C\x1b[3~\x1b[3;6~"),
            [ArrowUp, ArrowDown, ControlLeft, ArrowRight, Delete, ControlLeft, ShiftLeft, Delete]
        );
        assert_eq!(pressed(b"\x1bOP\x1b[15~\x1b[24~\x1b[[C\x1b[Z"), [F1, F5, F12, F3, ShiftLeft, Tab]);
        assert_eq!(pressed(b"\x1bx\x1b\x1b[200~y"), [AltLeft, X, Esc, Y]);
        assert_eq!(pressed(b"\x1b["), [AltLeft, BracketLeft]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_and_every_key_is_released(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut keys = TerminalKeys::default();
            let mut down = std::collections::HashSet::new();
            let mut events = keys.feed(&bytes);
            prop_assert!(keys.pending.len() <= LONGEST);
            events.extend(keys.flush());
            for event in events {
                let paired = if event.pressed { down.insert(event.key) } else { down.remove(&event.key) };
                prop_assert!(paired);
            }
            prop_assert!(down.is_empty());
        }
    }
}
