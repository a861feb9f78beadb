//! What `cargo test` printed: totals, failures, and what was not tested.
//!
//! A test that cannot do its work on this host prints a line `SKIP name: why; how to get it` (or `skipped: why`) and passes.
//! It is counted as skipped here, not as passed. With `SLOTONE_CI=1` such a test fails instead.

use std::collections::BTreeSet;

/// Totals of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Tests that ran to their end and did not say that they were skipped.
    pub(super) passed: u64,
    /// What the test programs count as failed; more than `failures` names if one died before it could say which.
    pub(super) failed: u64,
    /// `program: test` of each that failed.
    pub(super) failures: Vec<String>,
    /// `program: test: why` of each that was ignored or said that it was skipped.
    pub(super) skipped: Vec<String>,
    /// Test programs that ran, doc tests included.
    pub(super) programs: u64,
}

/// Reads the output of `cargo test --no-fail-fast -- --show-output`, both streams in one.
pub(super) fn read(output: &str) -> Totals {
    let mut totals = Totals::default();
    let mut program = String::new();
    // Which part of a test program's output is being read: what tests that passed have printed, and which test.
    let (mut passed_part, mut test) = (false, "");
    let mut seen = BTreeSet::new();
    for line in output.lines() {
        let line = line.trim();
        let result_of = |end: &str| {
            line.strip_prefix("test ")
                .and_then(|l| l.split_once(end))
                .map(|(name, why)| (name.to_owned(), why))
        };
        if let Some(name) = program_name(line) {
            (program, passed_part, test) = (name, false, "");
            totals.programs += 1;
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|l| l.strip_suffix(" ----")) {
            test = name.strip_suffix(" stdout").unwrap_or(name);
        } else if line == "successes:" || line == "failures:" {
            (passed_part, test) = (line == "successes:", "");
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            (passed_part, test) = (false, "");
            totals.passed += count(counts, "passed");
            totals.failed += count(counts, "failed");
        } else if let Some((name, _)) = result_of(" ... FAILED") {
            totals.failures.push(format!("{program}: {name}"));
        } else if let Some((name, why)) = result_of(" ... ignored") {
            let why = why.trim_start_matches(", ");
            let why = if why.is_empty() { "ignored" } else { why };
            totals.skipped.push(format!("{program}: {name}: {why}"));
        } else if let Some(why) = skip_reason(line)
            && passed_part
            && seen.insert(format!("{program}: {test}"))
        {
            totals.skipped.push(format!("{program}: {test}: {why}"));
        }
    }
    totals.passed = totals.passed.saturating_sub(seen.len() as u64);
    totals
}

/// `slotone_bus` out of `Running unittests src/lib.rs (target/debug/deps/slotone_bus-0123456789abcdef)` or `Doc-tests slotone_bus`.
fn program_name(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name} (documentation)"));
    }
    let path = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once('(')?.1;
    let file = path.rsplit('/').next()?;
    Some(file.rsplit_once('-').map_or(file, |(name, _)| name).to_owned())
}

/// What follows the mark of a test that could not do its work.
fn skip_reason(line: &str) -> Option<&str> {
    line.strip_prefix("skipped: ").or_else(|| line.strip_prefix("SKIP ")).map(str::trim)
}

/// The number before `what` in `ok. 3 passed; 0 failed; ...`.
fn count(counts: &str, what: &str) -> u64 {
    let words: Vec<&str> = counts.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    let number = words.windows(2).find(|pair| pair[1] == what).and_then(|pair| pair[0].parse().ok());
    number.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
   Compiling slotone-bus v0.1.0 (/x)
     Running unittests src/lib.rs (target/debug/deps/slotone_bus-0123456789abcdef)

running 4 tests
test a::one ... ok
test a::two ... ok
test a::three ... ignored, needs a floppy drive
test a::four ... FAILED

successes:

---- a::two stdout ----
SKIP two: no qemu-img; apt-get install qemu-utils
SKIP two: a second thing is missing

successes:
    a::one
    a::two

failures:

---- a::four stdout ----
skipped: said by a test that failed

failures:
    a::four

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests slotone_bus
test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn totals_are_those_of_the_output() {
        let totals = read(OUTPUT);
        assert_eq!(totals.passed, 8, "a::one and 7 documentation tests");
        assert_eq!(totals.failed, 1);
        assert_eq!(totals.failures, ["slotone_bus: a::four"]);
        assert_eq!(
            totals.skipped,
            [
                "slotone_bus: a::three: needs a floppy drive",
                "slotone_bus: a::two: two: no qemu-img; apt-get install qemu-utils"
            ]
        );
        assert_eq!(totals.programs, 2);
    }
}
