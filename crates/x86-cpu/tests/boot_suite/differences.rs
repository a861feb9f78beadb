//! Lines that differ, and the lists of those that are known to.
//!
//! A list is text: `# ` begins a comment, `## ` a reason, below which stand the lines it is for as `group | what the peer
//! prints`, or `group | name: (no line)` if it prints none. A name ends at the line's first colon. `group | *: all / lines`
//! is for a group of which the peer prints nothing else, because it lacks what the group is about or does not survive it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Stands for a whole group.
const ALL: &str = "*";
/// Of a line that a peer does not print.
const NOTHING: &str = "(no line)";

/// What a line is about.
pub(crate) fn name(line: &str) -> &str {
    line.split_once(':').map_or(line, |(name, _)| name)
}

/// The lines in which two outputs differ, for a reader.
pub(crate) fn report(group: &str, expected: &str, got: &str) -> String {
    let mut out = String::new();
    let (mut e, mut g) = (expected.lines(), got.lines());
    loop {
        match (e.next(), g.next()) {
            (None, None) => return out,
            (a, b) if a == b => {}
            (a, b) => {
                let _ =
                    writeln!(out, "{group}: - {}\n{group}: + {}", a.unwrap_or(NOTHING), b.unwrap_or(NOTHING));
            }
        }
    }
}

struct Entry {
    line: String,
    used: bool,
}

/// One peer's list.
pub(crate) struct Differences {
    path: PathBuf,
    entries: BTreeMap<(String, String), Entry>,
}

impl Differences {
    /// Reads a list. An entry without a reason, and two for one line, are errors.
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self::parse(path, &text)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Self {
        let mut entries = BTreeMap::new();
        let mut reason = false;
        for (n, l) in text.lines().enumerate() {
            let at = format!("{}:{}", path.display(), n + 1);
            if l.starts_with("## ") {
                reason = true;
            } else if !l.is_empty() && !l.starts_with('#') {
                assert!(reason, "{at}: no reason above it");
                let (group, line) = l.split_once(" | ").unwrap_or_else(|| panic!("{at}: group | line"));
                let key = (group.to_owned(), name(line).to_owned());
                let entry = Entry { line: line.to_owned(), used: false };
                assert!(entries.insert(key, entry).is_none(), "{at}: a second entry for this line");
            }
        }
        Self { path: path.to_owned(), entries }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Compares a group's output with what is expected; every difference must be known, and every known one there.
    pub(crate) fn check(&mut self, group: &str, expected: &str, got: &str) -> String {
        let mut out = String::new();
        if let Some(entry) = self.entries.get_mut(&(group.to_owned(), ALL.to_owned())) {
            entry.used = true;
            let printed = format!("{ALL}: {}", got.lines().collect::<Vec<_>>().join(" / "));
            if printed != entry.line {
                let listed = &entry.line;
                let _ = writeln!(
                    out,
                    "differs in another way than listed: {group} | {printed}\n\tlisted: {listed}"
                );
            }
            return out;
        }
        let mut theirs: BTreeMap<&str, &str> = BTreeMap::new();
        for line in got.lines() {
            if theirs.insert(name(line), line).is_some() {
                let _ = writeln!(out, "{group}: twice: {line}");
            }
        }
        for line in expected.lines() {
            let printed =
                theirs.remove(name(line)).map_or_else(|| format!("{}: {NOTHING}", name(line)), str::to_owned);
            let known = self.entries.get_mut(&(group.to_owned(), name(line).to_owned()));
            match known {
                Some(entry) => {
                    entry.used = true;
                    if printed == line {
                        let _ = writeln!(out, "differs no longer, take it from the list: {group} | {line}");
                    } else if printed != entry.line {
                        let listed = &entry.line;
                        let _ = writeln!(
                            out,
                            "differs in another way than listed: {group} | {printed}\n\tlisted: {listed}"
                        );
                    }
                }
                None if printed == line => {}
                None => {
                    let _ = writeln!(out, "{group} | {printed}\n\texpected: {line}");
                }
            }
        }
        for (_, line) in theirs {
            let _ = writeln!(out, "{group}: not expected: {line}");
        }
        out
    }

    /// Entries for lines that no group has.
    pub(crate) fn unused(&self) -> String {
        let path = self.path.display();
        let unused = self.entries.iter().filter(|(_, entry)| !entry.used);
        unused.fold(String::new(), |out, ((group, name), _)| {
            out + &format!("{path}: no such line: {group} | {name}\n")
        })
    }
}
