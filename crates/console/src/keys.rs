//! The keys of a US keyboard.

macro_rules! keys {
    ($($(#[$doc:meta])* $key:ident $name:literal,)*) => {
        /// A physical key, named by what a US 104-key keyboard has printed on it (and the one that keyboards elsewhere have besides).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "a key's name is its documentation")]
        pub enum KeyCode { $($(#[$doc])* $key,)* }

        impl KeyCode {
            /// Every key.
            pub const ALL: &[Self] = &[$(Self::$key),*];

            /// The key's name: what it has printed on it, in lower case (`esc`, `f1`, `a`, `kp5`).
            pub const fn name(self) -> &'static str {
                match self { $(Self::$key => $name),* }
            }
        }
    };
}

keys! {
    Esc "esc",
    F1 "f1", F2 "f2", F3 "f3", F4 "f4", F5 "f5", F6 "f6", F7 "f7", F8 "f8", F9 "f9", F10 "f10", F11 "f11", F12 "f12",
    PrintScreen "printscreen", ScrollLock "scrolllock", Pause "pause",
    Grave "`",
    Digit1 "1", Digit2 "2", Digit3 "3", Digit4 "4", Digit5 "5", Digit6 "6", Digit7 "7", Digit8 "8", Digit9 "9", Digit0 "0",
    Minus "-", Equal "=", Backspace "backspace",
    Tab "tab",
    Q "q", W "w", E "e", R "r", T "t", Y "y", U "u", I "i", O "o", P "p",
    BracketLeft "[", BracketRight "]", Backslash "\\",
    CapsLock "capslock",
    A "a", S "s", D "d", F "f", G "g", H "h", J "j", K "k", L "l",
    Semicolon ";", Quote "'", Enter "enter",
    ShiftLeft "shift",
    /// The key between left Shift and Z of keyboards with 105 keys.
    IntlBackslash "102nd",
    Z "z", X "x", C "c", V "v", B "b", N "n", M "m",
    Comma ",", Period ".", Slash "/", ShiftRight "rshift",
    ControlLeft "ctrl", MetaLeft "win", AltLeft "alt", Space "space",
    AltRight "altgr", MetaRight "rwin", Menu "menu", ControlRight "rctrl",
    Insert "insert", Home "home", PageUp "pageup", Delete "del", End "end", PageDown "pagedown",
    ArrowUp "up", ArrowLeft "left", ArrowDown "down", ArrowRight "right",
    NumLock "numlock", NumpadDivide "kp/", NumpadMultiply "kp*", NumpadSubtract "kp-",
    Numpad7 "kp7", Numpad8 "kp8", Numpad9 "kp9", NumpadAdd "kp+",
    Numpad4 "kp4", Numpad5 "kp5", Numpad6 "kp6",
    Numpad1 "kp1", Numpad2 "kp2", Numpad3 "kp3", NumpadEnter "kpenter",
    Numpad0 "kp0", NumpadDecimal "kp.",
}

impl KeyCode {
    /// The key that gives `c` on a US keyboard, and whether Shift is held; `None` if no key does.
    pub fn from_char(c: char) -> Option<(Self, bool)> {
        // Unshifted and shifted characters of the keys that are not letters.
        const PAIRS: &[(char, char, KeyCode)] = &[
            ('`', '~', KeyCode::Grave),
            ('1', '!', KeyCode::Digit1),
            ('2', '@', KeyCode::Digit2),
            ('3', '#', KeyCode::Digit3),
            ('4', '$', KeyCode::Digit4),
            ('5', '%', KeyCode::Digit5),
            ('6', '^', KeyCode::Digit6),
            ('7', '&', KeyCode::Digit7),
            ('8', '*', KeyCode::Digit8),
            ('9', '(', KeyCode::Digit9),
            ('0', ')', KeyCode::Digit0),
            ('-', '_', KeyCode::Minus),
            ('=', '+', KeyCode::Equal),
            ('[', '{', KeyCode::BracketLeft),
            (']', '}', KeyCode::BracketRight),
            ('\\', '|', KeyCode::Backslash),
            (';', ':', KeyCode::Semicolon),
            ('\'', '"', KeyCode::Quote),
            (',', '<', KeyCode::Comma),
            ('.', '>', KeyCode::Period),
            ('/', '?', KeyCode::Slash),
        ];
        match c {
            'a'..='z' | 'A'..='Z' => {
                let name = c.to_ascii_lowercase();
                let key = Self::ALL.iter().find(|key| key.name().chars().eq([name]))?;
                Some((*key, c.is_ascii_uppercase()))
            }
            ' ' => Some((Self::Space, false)),
            '\n' | '\r' => Some((Self::Enter, false)),
            '\t' => Some((Self::Tab, false)),
            _ => PAIRS.iter().find_map(|(plain, shifted, key)| match c {
                _ if c == *plain => Some((*key, false)),
                _ if c == *shifted => Some((*key, true)),
                _ => None,
            }),
        }
    }
}

/// A key goes down or up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyEvent {
    /// Which key.
    pub key: KeyCode,
    /// Down; else up.
    pub pressed: bool,
}

/// Appends a key pressed and released with the others held around it.
pub(crate) fn chord(held: &[KeyCode], key: KeyCode, out: &mut Vec<KeyEvent>) {
    let down = |key: &KeyCode| KeyEvent { key: *key, pressed: true };
    let up = |key: &KeyCode| KeyEvent { key: *key, pressed: false };
    out.extend(held.iter().map(down));
    out.extend([down(&key), up(&key)]);
    out.extend(held.iter().rev().map(up));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_names_of_their_own() {
        assert_eq!(KeyCode::ALL.len(), 105);
        let names: std::collections::HashSet<_> = KeyCode::ALL.iter().map(|key| key.name()).collect();
        assert_eq!(names.len(), 105);
    }

    #[test]
    fn every_printable_ascii_character_has_a_key() {
        let mut seen = std::collections::HashSet::new();
        for c in ' '..='~' {
            assert!(seen.insert(KeyCode::from_char(c).unwrap()), "{c} shares its key");
        }
        assert_eq!(KeyCode::from_char('ä'), None);
    }
}
