//! Scan codes (the second half of IRQ 1) and int 16h.

use crate::bda;
use crate::frame::{Frame, Outcome};
use crate::initiator::{Initiator, InitiatorExt};
use crate::wait::idle;

const RIGHT_SHIFT: u8 = 1;
const LEFT_SHIFT: u8 = 2;
const CTRL: u8 = 4;
const ALT: u8 = 8;
const NUM: u8 = 0x20;
const CAPS: u8 = 0x40;
const INSERT: u8 = 0x80;
/// 40:18
const PAUSED: u8 = 8;
/// 40:96
const LAST_E1: u8 = 1;
const LAST_E0: u8 = 2;
const RIGHT_CTRL: u8 = 4;
const RIGHT_ALT: u8 = 8;
/// 40:97
const ACKNOWLEDGED: u8 = 0x10;
const LED_UPDATE: u8 = 0x40;

/// Plain and shifted characters of scan codes 02h-0Dh, 10h-1Bh, 1Eh-29h and 2Bh-35h.
const ROWS: [(u8, &[u8], &[u8]); 4] = [
    (0x02, b"1234567890-=", b"!@#$%^&*()_+"),
    (0x10, b"qwertyuiop[]", b"QWERTYUIOP{}"),
    (0x1E, b"asdfghjkl;'`", b"ASDFGHJKL:\"~"),
    (0x2B, b"\\zxcvbnm,./", b"|ZXCVBNM<>?"),
];

/// Ctrl and the keypad, 47h-53h: the scan codes IBM's enhanced keyboard gives.
const CTRL_KEYPAD: [u8; 13] = [0x77, 0x8D, 0x84, 0x8E, 0x73, 0x8F, 0x74, 0x90, 0x75, 0x91, 0x76, 0x92, 0x93];
/// Characters of the keypad with Num Lock.
const KEYPAD: &[u8; 13] = b"789-456+1230.";

/// The 16-bit code of a key, scan code in the high byte, or nothing.
fn translate(scan: u8, extended: bool, flags: u8) -> Option<u16> {
    let (shift, ctrl, alt) = (flags & (LEFT_SHIFT | RIGHT_SHIFT) != 0, flags & CTRL != 0, flags & ALT != 0);
    let code = |scan: u8, ascii: u8| Some(u16::from(scan) << 8 | u16::from(ascii));
    // One of four by modifiers.
    let pick = |plain, shifted, control, alternate| {
        if alt {
            alternate
        } else if ctrl {
            control
        } else if shift {
            shifted
        } else {
            plain
        }
    };
    if extended {
        return match scan {
            0x1C => pick(code(0xE0, 0x0D), code(0xE0, 0x0D), code(0xE0, 0x0A), code(0xA6, 0)),
            0x35 => pick(code(0xE0, b'/'), code(0xE0, b'/'), code(0x95, 0), code(0xA4, 0)),
            0x47..=0x53 if !matches!(scan, 0x4A | 0x4C | 0x4E) => {
                let grey = code(scan, 0xE0);
                pick(grey, grey, code(CTRL_KEYPAD[usize::from(scan - 0x47)], 0xE0), code(scan + 0x50, 0))
            }
            _ => None,
        };
    }
    match scan {
        0x01 => pick(code(1, 0x1B), code(1, 0x1B), code(1, 0x1B), code(1, 0)),
        0x0E => pick(code(0x0E, 8), code(0x0E, 8), code(0x0E, 0x7F), code(0x0E, 0)),
        0x0F => pick(code(0x0F, 9), code(0x0F, 0), code(0x94, 0), code(0xA5, 0)),
        0x1C => pick(code(0x1C, 0x0D), code(0x1C, 0x0D), code(0x1C, 0x0A), code(0x1C, 0)),
        0x37 => pick(code(0x37, b'*'), code(0x37, b'*'), code(0x96, 0), code(0x37, 0)),
        0x39 => code(0x39, b' '),
        0x3B..=0x44 => pick(code(scan, 0), code(scan + 0x19, 0), code(scan + 0x23, 0), code(scan + 0x2D, 0)),
        0x57 | 0x58 => {
            let base = scan - 0x57 + 0x85;
            pick(code(base, 0), code(base + 2, 0), code(base + 4, 0), code(base + 6, 0))
        }
        0x56 => pick(code(0x56, b'\\'), code(0x56, b'|'), None, None),
        0x47..=0x53 => {
            let index = usize::from(scan - 0x47);
            let sign = matches!(scan, 0x4A | 0x4E);
            let number = shift != (flags & NUM != 0);
            if alt {
                sign.then(|| u16::from(scan) << 8)
            } else if ctrl {
                code(CTRL_KEYPAD[index], 0)
            } else if sign || number {
                code(scan, KEYPAD[index])
            } else {
                // The 5 in the middle has a code of its own.
                code(scan, 0)
            }
        }
        _ => {
            let (first, plain, shifted) = *ROWS
                .iter()
                .find(|(first, plain, _)| (*first..*first + plain.len() as u8).contains(&scan))?;
            let index = usize::from(scan - first);
            let letter = plain[index].is_ascii_lowercase();
            if alt {
                return code(if first == 2 { scan + 0x76 } else { scan }, 0);
            }
            if ctrl {
                return match plain[index] {
                    character @ b'a'..=b'z' => code(scan, character - b'a' + 1),
                    b'2' => code(scan, 0),
                    b'6' => code(scan, 0x1E),
                    b'-' => code(scan, 0x1F),
                    character @ (b'[' | b'\\' | b']') => code(scan, character - b'@'),
                    _ => None,
                };
            }
            let upper = shift != (letter && flags & CAPS != 0);
            code(scan, if upper { shifted[index] } else { plain[index] })
        }
    }
}

/// Puts a code into the buffer; false if it is full.
pub(crate) fn store(bus: &mut dyn Initiator, code: u16) -> bool {
    let Buffer { start, end, head, tail } = Buffer::read(bus);
    let next = if tail + 2 >= end { start } else { tail + 2 };
    if next == head {
        return false;
    }
    bus.put16(0x400 + u32::from(tail), code);
    bus.put16(bda::KEYBOARD_TAIL, next);
    true
}

/// The ring of 40:1A, offsets in segment 40h.
struct Buffer {
    start: u16,
    end: u16,
    head: u16,
    tail: u16,
}

impl Buffer {
    fn read(bus: &mut dyn Initiator) -> Self {
        let (mut start, mut end) = (bus.get16(bda::KEYBOARD_START), bus.get16(bda::KEYBOARD_END));
        if start >= end || end > 0xFFF0 {
            (start, end) = (0x1E, 0x3E);
        }
        let inside = |offset: u16| if (start..end).contains(&offset) { offset } else { start };
        let (head, tail) = (bus.get16(bda::KEYBOARD_HEAD), bus.get16(bda::KEYBOARD_TAIL));
        Self { start, end, head: inside(head), tail: inside(tail) }
    }
}

/// Looks at the next code and takes it if asked to.
fn next(bus: &mut dyn Initiator, take: bool) -> Option<u16> {
    let Buffer { start, end, head, tail } = Buffer::read(bus);
    if head == tail {
        return None;
    }
    let code = bus.get16(0x400 + u32::from(head));
    if take {
        bus.put16(bda::KEYBOARD_HEAD, if head + 2 >= end { start } else { head + 2 });
    }
    Some(code)
}

/// A code as the old functions (AH=00h, 01h) give it; none for keys the old keyboard did not have.
fn compatible(code: u16) -> Option<u16> {
    let [ascii, scan] = code.to_le_bytes();
    match (scan, ascii) {
        (0xE0, b'/') => Some(0x352F),
        (0xE0, ascii) => Some(0x1C00 | u16::from(ascii)),
        (0, _) => Some(code),
        (0x85.., _) => None,
        (scan, 0xE0) => Some(u16::from(scan) << 8),
        _ => Some(code),
    }
}

/// Serves int 16h.
pub(crate) fn int16(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    let enhanced = frame.ah() & 0x10 != 0;
    match frame.ah() {
        0x00 | 0x10 => loop {
            let Some(code) = next(bus, true) else { return idle(bus) };
            if let Some(code) = if enhanced { Some(code) } else { compatible(code) } {
                frame.set_ax(code);
                return Outcome::Done;
            }
        },
        0x01 | 0x11 => loop {
            let Some(code) = next(bus, false) else {
                frame.set_zero(true);
                return Outcome::Done;
            };
            if let Some(code) = if enhanced { Some(code) } else { compatible(code) } {
                frame.set_ax(code);
                frame.set_zero(false);
                return Outcome::Done;
            }
            // Not for the old function, which must not get stuck on it.
            next(bus, true);
        },
        0x02 => {
            let flags = bus.get8(bda::KEYBOARD_FLAGS);
            frame.set_al(flags);
        }
        0x05 => {
            let code = frame.cx();
            let stored = store(bus, code);
            frame.set_al(u8::from(!stored));
        }
        // Functions 0Ah, 10h-12h and 03h/05 of typematic rates are there.
        0x09 => frame.set_al(0x20),
        0x12 => {
            let (flags, more) = (bus.get8(bda::KEYBOARD_FLAGS), bus.get8(bda::KEYBOARD_FLAGS_2));
            let mode = bus.get8(bda::KEYBOARD_MODE);
            frame.set_al(flags);
            frame.set_ah(more & 0x73 | (more & 4) << 5 | mode & (RIGHT_CTRL | RIGHT_ALT));
        }
        _ => {}
    }
    Outcome::Done
}

/// Serves the scan code in AL that IRQ 1 has read.
pub(crate) fn scan_code(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    if frame.phase() == 1 {
        // Pause holds everything until the next key.
        return if bus.get8(bda::KEYBOARD_FLAGS_2) & PAUSED != 0 { idle(bus) } else { Outcome::Done };
    }
    if frame.phase() == 2 {
        return Outcome::Done;
    }
    let byte = frame.al();
    let mode = bus.get8(bda::KEYBOARD_MODE);
    match byte {
        0xE0 => bus.put8(bda::KEYBOARD_MODE, mode | LAST_E0),
        0xE1 => bus.put8(bda::KEYBOARD_MODE, mode | LAST_E1),
        0xFA => acknowledge(bus),
        0xEE | 0xFC..=0xFF | 0x00 => {}
        _ => return key(bus, frame, byte, mode),
    }
    Outcome::Done
}

/// FAh: the keyboard took a byte of the LED command.
fn acknowledge(bus: &mut dyn Initiator) {
    let leds = bus.get8(bda::KEYBOARD_LEDS);
    if leds & LED_UPDATE == 0 {
        return;
    }
    if leds & ACKNOWLEDGED == 0 {
        let state = bus.get8(bda::KEYBOARD_FLAGS) >> 4 & 7;
        bus.outb(0x60, state);
        bus.put8(bda::KEYBOARD_LEDS, leds & !7 | state | ACKNOWLEDGED);
    } else {
        bus.put8(bda::KEYBOARD_LEDS, leds & !(LED_UPDATE | ACKNOWLEDGED));
    }
}

fn update_leds(bus: &mut dyn Initiator) {
    let leds = bus.get8(bda::KEYBOARD_LEDS);
    if leds & LED_UPDATE == 0 {
        bus.put8(bda::KEYBOARD_LEDS, leds & !ACKNOWLEDGED | LED_UPDATE);
        bus.outb(0x60, 0xED);
    }
}

fn key(bus: &mut dyn Initiator, frame: &mut Frame, byte: u8, mode: u8) -> Outcome {
    let (scan, released) = (byte & 0x7F, byte & 0x80 != 0);
    let (extended, pause_key) = (mode & LAST_E0 != 0, mode & LAST_E1 != 0);
    let flags = bus.get8(bda::KEYBOARD_FLAGS);
    let more = bus.get8(bda::KEYBOARD_FLAGS_2);
    // E1 1D 45: the prefix holds for two codes.
    let keep = if pause_key && scan == 0x1D { LAST_E1 } else { 0 };
    let mode = mode & !(LAST_E0 | LAST_E1) | keep;
    bus.put8(bda::KEYBOARD_MODE, mode);
    if pause_key {
        if scan == 0x45 && !released {
            bus.put8(bda::KEYBOARD_FLAGS_2, more | PAUSED);
            frame.set_phase(1);
            return idle(bus);
        }
        return Outcome::Done;
    }
    let change = |old: u8, bit: u8| if released { old & !bit } else { old | bit };
    match scan {
        // Shifts that the keyboard wraps around grey keys are not the user's.
        0x2A | 0x36 if extended => return Outcome::Done,
        0x2A => bus.put8(bda::KEYBOARD_FLAGS, change(flags, LEFT_SHIFT)),
        0x36 => bus.put8(bda::KEYBOARD_FLAGS, change(flags, RIGHT_SHIFT)),
        0x1D | 0x38 => {
            let (left_bit, right_bit, bit) =
                if scan == 0x1D { (1, RIGHT_CTRL, CTRL) } else { (2, RIGHT_ALT, ALT) };
            let (more, mode) =
                if extended { (more, change(mode, right_bit)) } else { (change(more, left_bit), mode) };
            bus.put8(bda::KEYBOARD_FLAGS_2, more);
            bus.put8(bda::KEYBOARD_MODE, mode);
            let held = more & left_bit != 0 || mode & right_bit != 0;
            bus.put8(bda::KEYBOARD_FLAGS, if held { flags | bit } else { flags & !bit });
            if scan == 0x38 && released && !held {
                // Alt and digits on the keypad: a character by number.
                let number = bus.get8(bda::KEYBOARD_ALT);
                bus.put8(bda::KEYBOARD_ALT, 0);
                if number != 0 {
                    store(bus, u16::from(number));
                }
            }
        }
        0x3A | 0x45 | 0x46 if !(extended || scan == 0x46 && flags & CTRL != 0) => {
            let bit = match scan {
                0x3A => CAPS,
                0x45 => NUM,
                _ => 0x10,
            };
            let held = more & bit != 0;
            bus.put8(bda::KEYBOARD_FLAGS_2, change(more, bit));
            if !released && !held {
                bus.put8(bda::KEYBOARD_FLAGS, flags ^ bit);
                update_leds(bus);
            }
        }
        // Ctrl-Break: E0 46.
        0x46 if !released => {
            let head = bus.get16(bda::KEYBOARD_START);
            bus.put16(bda::KEYBOARD_HEAD, head);
            bus.put16(bda::KEYBOARD_TAIL, head);
            bus.put8(bda::BREAK, 0x80);
            return interrupt(bus, frame, 0x1B, 0);
        }
        // Print Screen; with Ctrl an ordinary code, with Alt (54h) the SysReq key.
        0x37 if extended => {
            if !released {
                if flags & CTRL != 0 {
                    store(bus, 0x7200);
                } else {
                    return interrupt(bus, frame, 0x05, 0);
                }
            }
        }
        0x54 => return interrupt(bus, frame, 0x15, 0x8500 | u16::from(released)),
        _ if released => {
            if scan == 0x52 {
                bus.put8(bda::KEYBOARD_FLAGS_2, more & !INSERT);
            }
        }
        0x53 if flags & (CTRL | ALT) == CTRL | ALT => {
            // Warm start by the board's reset register.
            bus.put16(bda::RESET_FLAG, 0x1234);
            bus.outb(0xCF9, 0x02);
            bus.outb(0xCF9, 0x06);
        }
        _ if more & PAUSED != 0 => bus.put8(bda::KEYBOARD_FLAGS_2, more & !PAUSED),
        _ => {
            if scan == 0x52 && flags & (CTRL | ALT) == 0 && more & INSERT == 0 {
                bus.put8(bda::KEYBOARD_FLAGS_2, more | INSERT);
                bus.put8(bda::KEYBOARD_FLAGS, flags ^ INSERT);
            }
            if !extended && flags & ALT != 0 && (0x47..=0x52).contains(&scan) && !matches!(scan, 0x4A | 0x4E)
            {
                let number = bus.get8(bda::KEYBOARD_ALT);
                let digit = KEYPAD[usize::from(scan - 0x47)] - b'0';
                bus.put8(bda::KEYBOARD_ALT, number.wrapping_mul(10).wrapping_add(digit));
            } else if let Some(code) = translate(scan, extended, flags) {
                store(bus, code);
            }
        }
    }
    Outcome::Done
}

/// Has the stub call an interrupt handler of the guest.
fn interrupt(bus: &mut dyn Initiator, frame: &mut Frame, vector: u8, ax: u16) -> Outcome {
    let (segment, offset) = crate::int10::pointer(bus.get32(u32::from(vector) * 4));
    frame.call(segment, offset, ax, 0, 0, 0);
    frame.set_phase(2);
    Outcome::Interrupt
}
