//! Binary inputs as text: `# hex` in the first line, then hexadecimal digits in any arrangement; `#` begins a comment.
//! `"..."` stands for the characters between the quotes, `N*HH` for N times the byte HH.

use std::borrow::Cow;

/// The bytes that text stands for; `None` if the input is no such text.
pub fn from_text(input: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(input).ok()?;
    let mut lines = text.lines();
    if lines.next()?.trim() != "# hex" {
        return None;
    }
    let mut out = Vec::new();
    for line in lines {
        let mut rest = line.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            if let Some(quoted) = rest.strip_prefix('"') {
                let (inside, behind) = quoted.split_once('"')?;
                out.extend(inside.as_bytes());
                rest = behind.trim_start();
                continue;
            }
            let (word, behind) = rest.split_at(rest.find([' ', '\t', '#']).unwrap_or(rest.len()));
            let (times, digits) = match word.split_once('*') {
                Some((times, digits)) => (times.parse::<u16>().ok()?, digits),
                None => (1, word),
            };
            if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
                return None;
            }
            for _ in 0..times {
                for i in (0..digits.len()).step_by(2) {
                    out.push(u8::from_str_radix(&digits[i..i + 2], 16).ok()?);
                }
            }
            rest = behind.trim_start();
        }
    }
    Some(out)
}

/// The input's bytes, whichever form it has.
pub fn bytes(input: &[u8]) -> Cow<'_, [u8]> {
    match from_text(input) {
        Some(bytes) => Cow::Owned(bytes),
        None => Cow::Borrowed(input),
    }
}

/// Text that [`from_text`] reads back: 16 bytes a line, long runs of one byte as a count.
pub fn to_text(bytes: &[u8]) -> String {
    let mut out = String::from("# hex\n");
    let mut line = String::new();
    let mut at = 0;
    while at < bytes.len() {
        let run = bytes[at..].iter().take_while(|b| **b == bytes[at]).count().min(usize::from(u16::MAX));
        if run >= 16 {
            if !line.is_empty() {
                out.push_str(&format!("{}\n", line.trim_end()));
                line.clear();
            }
            out.push_str(&format!("{run}*{:02x} # at {at:#x}\n", bytes[at]));
            at += run;
            continue;
        }
        line.push_str(&format!("{:02x} ", bytes[at]));
        at += 1;
        if line.len() >= 48 {
            out.push_str(&format!("{}\n", line.trim_end()));
            line.clear();
        }
    }
    if !line.is_empty() {
        out.push_str(&format!("{}\n", line.trim_end()));
    }
    out
}
