//! A PS/2 keyboard: commands, scan code sets 1 to 3, typematic.

use super::keys::{KeyCode, translate};
use crate::util::check;
use slotone_bus::state::StateError;
use slotone_bus::{VmInstant, encode_fields};
use std::collections::VecDeque;

/// The longest code of one stroke. The next stroke is not made before its last byte has gone, so nothing overruns.
const LONGEST_CODE: usize = 8;
/// Strokes waiting to be typed by the host.
pub(super) const QUEUE: usize = 16 * 1024;
/// Strokes of the queue come at most this often, in nanoseconds: a BIOS keeps 15 keys only.
const STROKE_NANOS: u64 = 10_000_000;
/// From the reset command to the end of the self test.
const SELF_TEST_NANOS: u64 = 5_000_000;
/// 10.9 characters a second after 500 ms.
const DEFAULT_TYPEMATIC: u8 = 0x2b;
const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const SELF_TEST_PASSED: u8 = 0xaa;
/// Key types of set 3.
const REPEATS: u8 = 1;
const BREAKS: u8 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyboard {
    /// Scans keys (commands F4h and F5h).
    enabled: bool,
    /// Scan code set, 1 to 3.
    set: u8,
    pub(super) leds: u8,
    typematic: u8,
    /// The command whose parameter comes next; 0 none.
    command: u8,
    responses: VecDeque<u8>,
    scans: VecDeque<u8>,
    last_sent: u8,
    /// Keys held down, by index.
    held: Vec<u8>,
    repeat: Option<(u8, VmInstant)>,
    self_test_at: Option<VmInstant>,
    /// Strokes of the host: key index with bit 7 set for a release.
    queue: VecDeque<u8>,
    next_stroke_at: VmInstant,
    /// Set 3: REPEATS and BREAKS by code.
    types: [u8; 256],
}
encode_fields!(Keyboard {
    enabled,
    set,
    leds,
    typematic,
    command,
    responses,
    scans,
    last_sent,
    held,
    repeat,
    self_test_at,
    queue,
    next_stroke_at,
    types
});

/// Key types of set 3 after reset.
fn default_types() -> [u8; 256] {
    let mut types = [0; 256];
    for key in KeyCode::ALL {
        types[usize::from(key.set_3())] = match key {
            KeyCode::ShiftLeft
            | KeyCode::ShiftRight
            | KeyCode::ControlLeft
            | KeyCode::AltLeft
            | KeyCode::CapsLock => BREAKS,
            KeyCode::ArrowDown | KeyCode::ArrowLeft | KeyCode::ArrowRight | KeyCode::ArrowUp => REPEATS,
            KeyCode::Backspace | KeyCode::Delete | KeyCode::NumpadAdd | KeyCode::Tab | KeyCode::Enter => {
                REPEATS
            }
            KeyCode::Space => REPEATS,
            key if (KeyCode::Grave..=KeyCode::Slash).contains(key) => REPEATS,
            _ => 0, // make code only
        };
    }
    types
}

impl Keyboard {
    pub(super) fn new() -> Self {
        Self {
            enabled: true,
            set: 2,
            leds: 0,
            typematic: DEFAULT_TYPEMATIC,
            command: 0,
            responses: VecDeque::new(),
            scans: VecDeque::new(),
            last_sent: 0,
            held: Vec::new(),
            repeat: None,
            self_test_at: None,
            queue: VecDeque::new(),
            next_stroke_at: VmInstant::ZERO,
            types: default_types(),
        }
    }

    fn set_defaults(&mut self) {
        (self.set, self.typematic, self.types) = (2, DEFAULT_TYPEMATIC, default_types());
        self.scans.clear();
        self.repeat = None;
    }

    /// Appends strokes to the queue; false, and nothing is taken, if they do not fit.
    pub(super) fn enqueue(&mut self, strokes: &[(KeyCode, bool)]) -> bool {
        let fits = strokes.len() <= self.room();
        if fits {
            self.queue
                .extend(strokes.iter().map(|(key, pressed)| *key as u8 | if *pressed { 0 } else { 0x80 }));
        }
        fits
    }

    pub(super) fn room(&self) -> usize {
        QUEUE - self.queue.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// A byte from the system.
    pub(super) fn receive(&mut self, now: VmInstant, value: u8) {
        self.responses.clear();
        let command = std::mem::take(&mut self.command);
        if command != 0 && value < 0xed {
            self.parameter(command, value);
            return;
        }
        match value {
            0xed | 0xf0 | 0xf3 | 0xfb..=0xfd => {
                self.command = value;
                self.responses.push_back(ACK);
            }
            0xee => self.responses.push_back(0xee),
            0xf2 => self.responses.extend([ACK, 0xab, 0x83]),
            0xf4 => {
                self.enabled = true;
                self.scans.clear();
                self.responses.push_back(ACK);
            }
            0xf5 | 0xf6 => {
                self.set_defaults();
                self.enabled = value == 0xf6;
                self.responses.push_back(ACK);
            }
            0xf7..=0xfa => {
                self.types = [[REPEATS, BREAKS, 0, REPEATS | BREAKS][usize::from(value - 0xf7)]; 256];
                self.responses.push_back(ACK);
            }
            0xfe => self.responses.push_back(self.last_sent),
            0xff => {
                self.set_defaults();
                (self.enabled, self.leds) = (true, 0);
                self.held.clear();
                self.self_test_at = Some(now + SELF_TEST_NANOS);
                self.responses.push_back(ACK);
            }
            _ => self.responses.push_back(RESEND),
        }
    }

    fn parameter(&mut self, command: u8, value: u8) {
        let mut response = ACK;
        match (command, value) {
            (0xed, 0..=7) => self.leds = value,
            (0xf0, 0) => {
                self.responses.extend([ACK, self.set]);
                return;
            }
            (0xf0, 1..=3) => {
                self.set = value;
                self.scans.clear();
            }
            (0xf3, 0..=0x7f) => self.typematic = value,
            (0xfb..=0xfd, _) => {
                self.types[usize::from(value)] = [REPEATS, BREAKS, 0][usize::from(command - 0xfb)];
                self.command = command; // the list goes on until the next command
            }
            _ => response = RESEND,
        }
        self.responses.push_back(response);
    }

    /// Whether it has a byte to send.
    pub(super) fn has_byte(&self) -> bool {
        !self.responses.is_empty() || !self.scans.is_empty()
    }

    /// The next byte; true for a scan code, which the controller may translate as part of a sequence.
    pub(super) fn send(&mut self) -> Option<(u8, bool)> {
        let (value, scan) = match self.responses.pop_front() {
            Some(value) => (value, false),
            None => (self.scans.pop_front()?, true),
        };
        if value != RESEND || scan {
            self.last_sent = value;
        }
        Some((value, scan))
    }

    pub(super) fn deadline(&self) -> Option<VmInstant> {
        let stroke = (!self.queue.is_empty() && self.scans.is_empty()).then_some(self.next_stroke_at);
        let repeat = self.repeat.filter(|_| self.scans.is_empty()).map(|(_, at)| at);
        [stroke, repeat, self.self_test_at].into_iter().flatten().min()
    }

    /// Everything due by `now`.
    pub(super) fn advance(&mut self, now: VmInstant) {
        if self.self_test_at.is_some_and(|at| at <= now) {
            self.self_test_at = None;
            self.responses.push_back(SELF_TEST_PASSED);
        }
        let ready = self.scans.is_empty() && self.next_stroke_at <= now;
        if let Some(stroke) = ready.then(|| self.queue.pop_front()).flatten() {
            self.stroke(now, stroke & 0x7f, stroke & 0x80 == 0);
            self.next_stroke_at = now + STROKE_NANOS;
        }
        if let Some((key, _)) = self.repeat.filter(|(_, at)| *at <= now && self.scans.is_empty()) {
            // (8 + bits 2:0) * 2^(bits 4:3) / 240 s
            let units = (8 + u64::from(self.typematic & 7)) << (self.typematic >> 3 & 3);
            self.repeat = Some((key, now + units * 1_000_000_000 / 240));
            if let Some(key) = KeyCode::from_index(key) {
                self.scan(key, true);
            }
        }
    }

    fn stroke(&mut self, now: VmInstant, index: u8, pressed: bool) {
        let Some(key) = KeyCode::from_index(index) else { return };
        let held = self.held.iter().position(|k| *k == index);
        match (held, pressed) {
            (None, true) => self.held.push(index),
            (Some(at), false) => {
                self.held.swap_remove(at);
            }
            // The keyboard repeats by itself; a host's repetition of a key that is down says nothing new.
            _ => return,
        }
        if !self.enabled {
            return;
        }
        self.scan(key, pressed);
        let types = self.types[usize::from(key.set_3())];
        let repeats = key != KeyCode::Pause && (self.set != 3 || types & REPEATS != 0);
        if pressed && repeats {
            let delay = 250_000_000 * (1 + u64::from(self.typematic >> 5 & 3));
            self.repeat = Some((index, now + delay));
        } else if self.repeat.is_some_and(|(k, _)| k == index) || pressed {
            self.repeat = None;
        }
    }

    fn is_held(&self, keys: &[KeyCode]) -> bool {
        keys.iter().any(|key| self.held.contains(&(*key as u8)))
    }

    /// Puts the code of a stroke into the buffer.
    fn scan(&mut self, key: KeyCode, pressed: bool) {
        let mut code = Vec::with_capacity(LONGEST_CODE);
        match (self.set, key) {
            (3, _) => {
                let make = key.set_3();
                if pressed {
                    code.push(make);
                } else if self.types[usize::from(make)] & BREAKS != 0 {
                    code.extend([0xf0, make]);
                }
            }
            (_, KeyCode::Pause) if pressed => {
                let control = self.is_held(&[KeyCode::ControlLeft, KeyCode::ControlRight]);
                let set_2: &[u8] = if control {
                    &[0xe0, 0x7e, 0xe0, 0xf0, 0x7e]
                } else {
                    &[0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77]
                };
                self.push_set(set_2, &mut code);
            }
            (_, KeyCode::Pause) => {}
            (_, KeyCode::PrintScreen) => {
                let alt = self.is_held(&[KeyCode::AltLeft, KeyCode::AltRight]);
                let bare = self.is_held(&[
                    KeyCode::ControlLeft,
                    KeyCode::ControlRight,
                    KeyCode::ShiftLeft,
                    KeyCode::ShiftRight,
                ]);
                let set_2: &[u8] = match (alt, bare, pressed) {
                    (true, _, true) => &[0x84],
                    (true, _, false) => &[0xf0, 0x84],
                    (_, true, true) => &[0xe0, 0x7c],
                    (_, true, false) => &[0xe0, 0xf0, 0x7c],
                    (_, _, true) => &[0xe0, 0x12, 0xe0, 0x7c],
                    (_, _, false) => &[0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12],
                };
                self.push_set(set_2, &mut code);
            }
            _ => {
                let (make, extended) = key.set_2();
                let prefix: &[u8] = match (extended, pressed) {
                    (true, true) => &[0xe0],
                    (true, false) => &[0xe0, 0xf0],
                    (false, true) => &[],
                    (false, false) => &[0xf0],
                };
                let set_2: Vec<u8> = prefix.iter().copied().chain([make]).collect();
                self.push_set(&set_2, &mut code);
            }
        }
        self.scans.extend(code);
    }

    /// A set 2 sequence in the set chosen (1 or 2).
    fn push_set(&self, set_2: &[u8], code: &mut Vec<u8>) {
        if self.set == 2 {
            code.extend(set_2);
            return;
        }
        let mut release = 0;
        for byte in set_2 {
            match byte {
                0xf0 => release = 0x80,
                0xe0 | 0xe1 => code.push(*byte),
                _ => code.push(translate(*byte) | std::mem::take(&mut release)),
            }
        }
    }

    pub(super) fn validate(&self, section: &str) -> Result<(), StateError> {
        let known = |index: &u8| KeyCode::from_index(*index).is_some();
        check(section, (1..=3).contains(&self.set), "no such scan code set")?;
        check(section, self.typematic < 0x80, "no such typematic rate")?;
        let command = matches!(self.command, 0 | 0xed | 0xf0 | 0xf3 | 0xfb..=0xfd);
        check(section, command, "a parameter of a command that has none")?;
        check(section, self.responses.len() <= 4, "more responses than a command has")?;
        check(section, self.scans.len() <= LONGEST_CODE, "more scan codes than a key has")?;
        check(section, self.queue.len() <= QUEUE, "more strokes than are kept")?;
        check(section, self.held.iter().all(known), "a key that does not exist")?;
        let mut held = self.held.clone();
        held.sort_unstable();
        held.dedup();
        check(section, held.len() == self.held.len(), "a key held twice")?;
        check(section, self.repeat.is_none_or(|(key, _)| known(&key)), "a key that does not exist")?;
        check(section, self.queue.iter().all(|s| known(&(s & 0x7f))), "a key that does not exist")
    }

    pub(super) fn set_number(&self) -> u8 {
        self.set
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }
}
