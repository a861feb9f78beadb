//! `--type` scripts.

use crate::keys::{KeyCode, KeyEvent, chord};
use thiserror::Error;

/// What is wrong with a script. Positions count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TypedError {
    /// `{` without `}`.
    #[error("the brace at character {at} is not closed; write {{{{ for a brace itself")]
    Unclosed {
        /// Where the brace stands.
        at: usize,
    },
    /// No such key.
    #[error(
        "no key is called \"{name}\" (character {at}); keys are called enter, esc, f1, ctrl, alt, del, up, kp5 and so on"
    )]
    UnknownKey {
        /// The name.
        name: String,
        /// Where its brace stands.
        at: usize,
    },
    /// No key of a US keyboard gives the character.
    #[error("no key of a US keyboard gives {character:?} (character {at})")]
    NoKey {
        /// The character.
        character: char,
        /// Where it stands.
        at: usize,
    },
}

/// The keys that type `script`: characters as they are (upper case with Shift), keys by name in braces, held together with
/// hyphens, `{{` and `}}` for braces. Every key is pressed and released at once; the caller paces them.
///
/// ```
/// use slotone_console::{KeyCode, parse_typed};
/// let keys = parse_typed("A{f1}{ctrl-alt-del}")?;
/// let pressed: Vec<_> = keys.iter().filter(|e| e.pressed).map(|e| e.key).collect();
/// use KeyCode::*;
/// assert_eq!(pressed, [ShiftLeft, A, F1, ControlLeft, AltLeft, Delete]);
/// assert!(parse_typed("{f13}").is_err());
/// # Ok::<(), slotone_console::TypedError>(())
/// ```
///
/// # Errors
/// [`TypedError`] says what and where; nothing is typed then.
pub fn parse_typed(script: &str) -> Result<Vec<KeyEvent>, TypedError> {
    let mut keys = Vec::new();
    let mut rest = script.chars().enumerate().map(|(i, c)| (i + 1, c)).peekable();
    while let Some((at, c)) = rest.next() {
        let doubled = (c == '{' || c == '}') && rest.next_if(|(_, next)| *next == c).is_some();
        if c == '{' && !doubled {
            let mut name = String::new();
            loop {
                match rest.next() {
                    Some((_, '}')) => break,
                    Some((_, c)) => name.push(c),
                    None => return Err(TypedError::Unclosed { at }),
                }
            }
            combination(&name, at, &mut keys)?;
        } else {
            let (key, shift) = KeyCode::from_char(c).ok_or(TypedError::NoKey { character: c, at })?;
            chord(if shift { &[KeyCode::ShiftLeft] } else { &[] }, key, &mut keys);
        }
    }
    Ok(keys)
}

/// `ctrl-alt-del`: the last is pressed while the others are held.
fn combination(name: &str, at: usize, keys: &mut Vec<KeyEvent>) -> Result<(), TypedError> {
    let key = |part: &str| {
        KeyCode::from_name(part).ok_or_else(|| TypedError::UnknownKey { name: part.to_string(), at })
    };
    // The hyphen is itself a key: {-}, {kp-}, {ctrl--}.
    if let Some(single) = KeyCode::from_name(name) {
        chord(&[], single, keys);
        return Ok(());
    }
    let (held, last) = match (name.strip_suffix("--"), name.rsplit_once('-')) {
        (Some(held), _) => (held, "-"),
        (None, Some(split)) => split,
        (None, None) => return key(name).map(drop),
    };
    let held: Vec<_> = held.split('-').map(key).collect::<Result<_, _>>()?;
    chord(&held, key(last)?, keys);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(script: &str) -> Vec<KeyCode> {
        parse_typed(script).unwrap().iter().filter(|e| e.pressed).map(|e| e.key).collect()
    }

    #[test]
    fn scripts() {
        use KeyCode::*;
        assert_eq!(pressed("a b\n"), [A, Space, B, Enter]);
        assert_eq!(pressed("{{x}}"), [ShiftLeft, BracketLeft, X, ShiftLeft, BracketRight]);
        assert_eq!(
            pressed("{Ctrl-C}{ctrl--}{-}{alt-/}"),
            [ControlLeft, C, ControlLeft, Minus, Minus, AltLeft, Slash]
        );
        assert_eq!(pressed("{kp5}{PgUp}{kp-}"), [Numpad5, PageUp, NumpadSubtract]);
        assert_eq!(pressed(""), []);
    }

    #[test]
    fn held_keys_are_released_in_reverse() {
        use KeyCode::*;
        let events: Vec<_> =
            parse_typed("{ctrl-alt-del}").unwrap().iter().map(|e| (e.key, e.pressed)).collect();
        let expected = [
            (ControlLeft, true),
            (AltLeft, true),
            (Delete, true),
            (Delete, false),
            (AltLeft, false),
            (ControlLeft, false),
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(parse_typed("ab{enter"), Err(TypedError::Unclosed { at: 3 }));
        assert_eq!(parse_typed("{entre}"), Err(TypedError::UnknownKey { name: "entre".into(), at: 1 }));
        assert_eq!(parse_typed("{}"), Err(TypedError::UnknownKey { name: String::new(), at: 1 }));
        assert_eq!(parse_typed("é"), Err(TypedError::NoKey { character: 'é', at: 1 }));
    }
}
