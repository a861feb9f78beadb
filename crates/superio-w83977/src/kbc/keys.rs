//! Keys by their place on a US 104-key keyboard, their codes in the three scan code sets, and text as key strokes.

use thiserror::Error;

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $set2:literal $set3:literal $text:literal,)*) => {
        /// A key, named after its legend on a US keyboard.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum KeyCode { $($(#[$doc])* $name,)* }

        impl KeyCode {
            /// Every key.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Set 2 code (E0xxh with prefix), set 3 code, name for [`keys_for`].
            const fn codes(self) -> (u16, u8, &'static str) {
                match self { $(Self::$name => ($set2, $set3, $text),)* }
            }
        }
    };
}

keys! {
    /// Escape.
    Esc = 0x76 0x08 "esc",
    /// F1.
    F1 = 0x05 0x07 "f1",
    /// F2.
    F2 = 0x06 0x0f "f2",
    /// F3.
    F3 = 0x04 0x17 "f3",
    /// F4.
    F4 = 0x0c 0x1f "f4",
    /// F5.
    F5 = 0x03 0x27 "f5",
    /// F6.
    F6 = 0x0b 0x2f "f6",
    /// F7.
    F7 = 0x83 0x37 "f7",
    /// F8.
    F8 = 0x0a 0x3f "f8",
    /// F9.
    F9 = 0x01 0x47 "f9",
    /// F10.
    F10 = 0x09 0x4f "f10",
    /// F11.
    F11 = 0x78 0x56 "f11",
    /// F12.
    F12 = 0x07 0x5e "f12",
    /// Print Screen, SysRq.
    PrintScreen = 0xe07c 0x57 "printscreen",
    /// Scroll Lock.
    ScrollLock = 0x7e 0x5f "scrolllock",
    /// Pause, Break.
    Pause = 0xe17e 0x62 "pause",
    /// Grave accent and tilde.
    Grave = 0x0e 0x0e "`",
    /// 1.
    Digit1 = 0x16 0x16 "1",
    /// 2.
    Digit2 = 0x1e 0x1e "2",
    /// 3.
    Digit3 = 0x26 0x26 "3",
    /// 4.
    Digit4 = 0x25 0x25 "4",
    /// 5.
    Digit5 = 0x2e 0x2e "5",
    /// 6.
    Digit6 = 0x36 0x36 "6",
    /// 7.
    Digit7 = 0x3d 0x3d "7",
    /// 8.
    Digit8 = 0x3e 0x3e "8",
    /// 9.
    Digit9 = 0x46 0x46 "9",
    /// 0.
    Digit0 = 0x45 0x45 "0",
    /// Minus and underscore.
    Minus = 0x4e 0x4e "-",
    /// Equals and plus.
    Equal = 0x55 0x55 "=",
    /// Backspace.
    Backspace = 0x66 0x66 "backspace",
    /// Tabulator.
    Tab = 0x0d 0x0d "tab",
    /// Q.
    Q = 0x15 0x15 "q",
    /// W.
    W = 0x1d 0x1d "w",
    /// E.
    E = 0x24 0x24 "e",
    /// R.
    R = 0x2d 0x2d "r",
    /// T.
    T = 0x2c 0x2c "t",
    /// Y.
    Y = 0x35 0x35 "y",
    /// U.
    U = 0x3c 0x3c "u",
    /// I.
    I = 0x43 0x43 "i",
    /// O.
    O = 0x44 0x44 "o",
    /// P.
    P = 0x4d 0x4d "p",
    /// Left bracket.
    BracketLeft = 0x54 0x54 "[",
    /// Right bracket.
    BracketRight = 0x5b 0x5b "]",
    /// Backslash and bar.
    Backslash = 0x5d 0x5c "\\",
    /// Caps Lock.
    CapsLock = 0x58 0x14 "capslock",
    /// A.
    A = 0x1c 0x1c "a",
    /// S.
    S = 0x1b 0x1b "s",
    /// D.
    D = 0x23 0x23 "d",
    /// F.
    F = 0x2b 0x2b "f",
    /// G.
    G = 0x34 0x34 "g",
    /// H.
    H = 0x33 0x33 "h",
    /// J.
    J = 0x3b 0x3b "j",
    /// K.
    K = 0x42 0x42 "k",
    /// L.
    L = 0x4b 0x4b "l",
    /// Semicolon and colon.
    Semicolon = 0x4c 0x4c ";",
    /// Apostrophe and quotation mark.
    Quote = 0x52 0x52 "'",
    /// Enter.
    Enter = 0x5a 0x5a "enter",
    /// Left Shift.
    ShiftLeft = 0x12 0x12 "shift",
    /// The key between left Shift and Z on keyboards with 102 and more keys.
    IntlBackslash = 0x61 0x13 "102nd",
    /// Z.
    Z = 0x1a 0x1a "z",
    /// X.
    X = 0x22 0x22 "x",
    /// C.
    C = 0x21 0x21 "c",
    /// V.
    V = 0x2a 0x2a "v",
    /// B.
    B = 0x32 0x32 "b",
    /// N.
    N = 0x31 0x31 "n",
    /// M.
    M = 0x3a 0x3a "m",
    /// Comma.
    Comma = 0x41 0x41 ",",
    /// Full stop.
    Period = 0x49 0x49 ".",
    /// Slash and question mark.
    Slash = 0x4a 0x4a "/",
    /// Right Shift.
    ShiftRight = 0x59 0x59 "rshift",
    /// Left Control.
    ControlLeft = 0x14 0x11 "ctrl",
    /// Left Windows key.
    MetaLeft = 0xe01f 0x8b "win",
    /// Left Alt.
    AltLeft = 0x11 0x19 "alt",
    /// Space bar.
    Space = 0x29 0x29 "space",
    /// Right Alt, AltGr.
    AltRight = 0xe011 0x39 "altgr",
    /// Right Windows key.
    MetaRight = 0xe027 0x8c "rwin",
    /// Context menu.
    Menu = 0xe02f 0x8d "menu",
    /// Right Control.
    ControlRight = 0xe014 0x58 "rctrl",
    /// Insert.
    Insert = 0xe070 0x67 "insert",
    /// Home.
    Home = 0xe06c 0x6e "home",
    /// Page Up.
    PageUp = 0xe07d 0x6f "pageup",
    /// Delete.
    Delete = 0xe071 0x64 "del",
    /// End.
    End = 0xe069 0x65 "end",
    /// Page Down.
    PageDown = 0xe07a 0x6d "pagedown",
    /// Cursor up.
    ArrowUp = 0xe075 0x63 "up",
    /// Cursor left.
    ArrowLeft = 0xe06b 0x61 "left",
    /// Cursor down.
    ArrowDown = 0xe072 0x60 "down",
    /// Cursor right.
    ArrowRight = 0xe074 0x6a "right",
    /// Num Lock.
    NumLock = 0x77 0x76 "numlock",
    /// Keypad slash.
    NumpadDivide = 0xe04a 0x77 "kp/",
    /// Keypad asterisk.
    NumpadMultiply = 0x7c 0x7e "kp*",
    /// Keypad minus.
    NumpadSubtract = 0x7b 0x84 "kp-",
    /// Keypad 7.
    Numpad7 = 0x6c 0x6c "kp7",
    /// Keypad 8.
    Numpad8 = 0x75 0x75 "kp8",
    /// Keypad 9.
    Numpad9 = 0x7d 0x7d "kp9",
    /// Keypad plus.
    NumpadAdd = 0x79 0x7c "kp+",
    /// Keypad 4.
    Numpad4 = 0x6b 0x6b "kp4",
    /// Keypad 5.
    Numpad5 = 0x73 0x73 "kp5",
    /// Keypad 6.
    Numpad6 = 0x74 0x74 "kp6",
    /// Keypad 1.
    Numpad1 = 0x69 0x69 "kp1",
    /// Keypad 2.
    Numpad2 = 0x72 0x72 "kp2",
    /// Keypad 3.
    Numpad3 = 0x7a 0x7a "kp3",
    /// Keypad 0.
    Numpad0 = 0x70 0x70 "kp0",
    /// Keypad full stop.
    NumpadDecimal = 0x71 0x71 "kp.",
    /// Keypad Enter.
    NumpadEnter = 0xe05a 0x79 "kpenter",
}

impl KeyCode {
    /// Set 2 make code without prefix, and whether E0h goes before it. Print Screen and Pause have sequences of their own.
    pub(super) const fn set_2(self) -> (u8, bool) {
        let code = self.codes().0;
        (code as u8, code >> 8 == 0xe0)
    }

    pub(super) const fn set_3(self) -> u8 {
        self.codes().1
    }

    pub(super) fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }

    /// The key of a name as [`keys_for`] knows it in braces, or of its character without Shift; all in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = match name {
            "return" | "ret" => "enter",
            "escape" => "esc",
            "delete" => "del",
            "control" | "lctrl" => "ctrl",
            "lshift" => "shift",
            "lalt" => "alt",
            "ralt" => "altgr",
            "bs" | "bksp" => "backspace",
            "ins" => "insert",
            "pgup" => "pageup",
            "pgdn" => "pagedown",
            "spc" => "space",
            "meta" | "super" | "lwin" => "win",
            "caps" => "capslock",
            "num" => "numlock",
            "scroll" => "scrolllock",
            "break" => "pause",
            "print" | "prtsc" | "sysrq" => "printscreen",
            "apps" => "menu",
            other => other,
        };
        Self::ALL.iter().copied().find(|key| key.codes().2 == name)
    }
}

/// What the 8042 makes of a set 2 code (the classic translation to set 1); codes from 85h on stay as they are.
pub(super) const fn translate(code: u8) -> u8 {
    const TABLE: [u8; 0x85] = [
        0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29,
        0x59, //
        0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03,
        0x5b, //
        0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06,
        0x5d, //
        0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09,
        0x5f, //
        0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c,
        0x61, //
        0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63,
        0x76, //
        0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f,
        0x6f, //
        0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46,
        0x54, //
        0x80, 0x81, 0x82, 0x41, 0x54,
    ];
    if (code as usize) < TABLE.len() { TABLE[code as usize] } else { code }
}

/// Text that cannot be typed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TypeError {
    /// A character that is on no key of a US keyboard.
    #[error("no key of a US keyboard types {0:?}")]
    Character(char),
    /// A name in braces that is no key.
    #[error("no key is called {{{0}}}")]
    Name(String),
    /// An opening brace without a closing one.
    #[error("an opening brace without a closing one; write {{{{ for the character itself")]
    Brace,
    /// More strokes than the queue holds.
    #[error("the keyboard's queue has room for {room} of {wanted} key strokes")]
    Full {
        /// Strokes it has room for.
        room: usize,
        /// Strokes needed.
        wanted: usize,
    },
}

/// The strokes (key, pressed) that type `text` on a US keyboard.
///
/// `\n` is Enter, `\t` Tab. Names in braces: `{enter}`, `{esc}`, `{f1}`, `{up}`, `{del}`, `{kp5}` ...; joined with `-` they are held
/// together: `{ctrl-alt-del}`, `{shift-f10}`, `{alt-x}`. `{{` and `}}` are the braces themselves.
///
/// # Errors
/// [`TypeError`] naming what is on no key.
///
/// ```
/// use slotone_superio_w83977::{KeyCode, keys_for};
/// let strokes = keys_for("A{enter}")?;
/// assert_eq!(strokes[0], (KeyCode::ShiftLeft, true));
/// assert_eq!(strokes.last(), Some(&(KeyCode::Enter, false)));
/// # Ok::<(), slotone_superio_w83977::TypeError>(())
/// ```
pub fn keys_for(text: &str) -> Result<Vec<(KeyCode, bool)>, TypeError> {
    let mut strokes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '{' | '}' if rest.as_str().starts_with(c) => {
                rest.next();
                press(&mut strokes, &character(c).ok_or(TypeError::Character(c))?);
            }
            '{' => {
                let (name, after) = rest.as_str().split_once('}').ok_or(TypeError::Brace)?;
                press(&mut strokes, &chord(name)?);
                rest = after.chars();
            }
            _ => press(&mut strokes, &character(c).ok_or(TypeError::Character(c))?),
        }
    }
    Ok(strokes)
}

/// Presses keys in order and releases them in reverse.
fn press(strokes: &mut Vec<(KeyCode, bool)>, keys: &[KeyCode]) {
    strokes.extend(keys.iter().map(|key| (*key, true)));
    strokes.extend(keys.iter().rev().map(|key| (*key, false)));
}

fn chord(name: &str) -> Result<Vec<KeyCode>, TypeError> {
    let lower = name.to_ascii_lowercase();
    if let Some(key) = KeyCode::from_name(&lower) {
        return Ok(vec![key]);
    }
    let keys: Option<Vec<_>> = lower.split('-').map(KeyCode::from_name).collect();
    keys.ok_or_else(|| TypeError::Name(name.to_string()))
}

fn character(c: char) -> Option<Vec<KeyCode>> {
    const SHIFTED: &str = "~!@#$%^&*()_+{}|:\"<>?";
    const UNSHIFTED: &str = "`1234567890-=[]\\;',./";
    let (key, shift) = match c {
        '\n' => (KeyCode::Enter, false),
        '\t' => (KeyCode::Tab, false),
        '\u{8}' => (KeyCode::Backspace, false),
        '\u{1b}' => (KeyCode::Esc, false),
        ' ' => (KeyCode::Space, false),
        _ => {
            let (base, shift) = match SHIFTED.chars().position(|s| s == c) {
                Some(at) => (UNSHIFTED.chars().nth(at)?, true),
                None => (c.to_ascii_lowercase(), c.is_ascii_uppercase()),
            };
            (KeyCode::from_name(base.encode_utf8(&mut [0; 4]))?, shift)
        }
    };
    Some(if shift { vec![KeyCode::ShiftLeft, key] } else { vec![key] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        for (i, a) in KeyCode::ALL.iter().enumerate() {
            assert_eq!(KeyCode::from_index(i as u8), Some(*a));
            for b in &KeyCode::ALL[i + 1..] {
                assert_ne!(a.codes().0, b.codes().0, "{a:?} {b:?}");
                assert_ne!(a.set_3(), b.set_3(), "{a:?} {b:?}");
                assert_ne!(a.codes().2, b.codes().2);
            }
        }
        assert_eq!(KeyCode::ALL.len(), 105);
    }

    #[test]
    fn translation_gives_the_xt_codes() {
        let xt = |key: KeyCode| translate(key.set_2().0);
        let row = [KeyCode::Q, KeyCode::W, KeyCode::E, KeyCode::R, KeyCode::T, KeyCode::Y];
        assert_eq!(row.map(xt), [0x10, 0x11, 0x12, 0x13, 0x14, 0x15]);
        assert_eq!([KeyCode::Esc, KeyCode::Enter, KeyCode::Space].map(xt), [0x01, 0x1c, 0x39]);
        assert_eq!([KeyCode::F7, KeyCode::F12, KeyCode::Delete].map(xt), [0x41, 0x58, 0x53]);
        for response in [0xaa, 0xab, 0xe0, 0xe1, 0xee, 0xfa, 0xfe] {
            assert_eq!(translate(response), response);
        }
        let mut seen: Vec<_> = KeyCode::ALL.iter().map(|k| (xt(*k), k.set_2().1)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(
            seen.len(),
            KeyCode::ALL.len() - 1,
            "Pause shares its code with Scroll Lock, as Ctrl-Break does"
        );
    }

    #[test]
    fn every_printable_character_can_be_typed() {
        for c in ' '..='~' {
            let text = if c == '{' || c == '}' { format!("{c}{c}") } else { c.to_string() };
            let strokes = keys_for(&text).unwrap();
            assert!(strokes.len() == 2 || strokes.len() == 4, "{c:?}");
        }
    }

    #[test]
    fn chords_and_mistakes() {
        let cad = keys_for("{ctrl-alt-del}").unwrap();
        let keys: Vec<_> = cad.iter().take(3).map(|(k, _)| *k).collect();
        assert_eq!(keys, [KeyCode::ControlLeft, KeyCode::AltLeft, KeyCode::Delete]);
        assert_eq!(cad.last(), Some(&(KeyCode::ControlLeft, false)));
        assert_eq!(keys_for("{-}").unwrap(), keys_for("-").unwrap());
        assert_eq!(keys_for("{nokey}"), Err(TypeError::Name("nokey".into())));
        assert_eq!(keys_for("{f1"), Err(TypeError::Brace));
        assert_eq!(keys_for("ä"), Err(TypeError::Character('ä')));
    }
}
