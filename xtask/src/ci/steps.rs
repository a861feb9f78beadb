//! Steps: each timed, told in one line, and none of them ending the run.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::host;

/// The run so far. Steps may be told from several threads.
pub(super) struct Steps {
    logs: PathBuf,
    started: Instant,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    count: usize,
    failures: Vec<String>,
}

impl Steps {
    /// Nothing run yet; the programs' output goes to files in `logs`.
    pub(super) fn new(logs: PathBuf) -> Self {
        Self { logs, started: Instant::now(), told: Mutex::default() }
    }

    /// The log file of a step.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        let stem: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.logs.join(format!("{stem}.log"))
    }

    /// Runs a step and tells its outcome; the step's text says what it found. `None`: it failed.
    pub(super) fn run<T>(&self, name: &str, work: impl FnOnce() -> Result<(T, String)>) -> Option<T> {
        let started = Instant::now();
        let result = work();
        let seconds = started.elapsed().as_secs_f64();
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.count += 1;
        match result {
            Ok((value, found)) => {
                let found = if found.is_empty() { found } else { format!("  {found}") };
                println!("ci: {name:<34} ok   {seconds:>6.1} s{found}");
                Some(value)
            }
            Err(error) => {
                let text = error.to_string();
                let mut lines = text.lines();
                println!("ci: {name:<34} FAIL {seconds:>6.1} s  {}", lines.next().unwrap_or_default());
                for line in lines {
                    println!("    {line}");
                }
                told.failures.push(format!("{name}: {}", text.lines().next().unwrap_or_default()));
                None
            }
        }
    }

    /// A step that is one program which must exit with 0; `limit` in minutes.
    pub(super) fn program(&self, name: &str, command: &mut Command, minutes: u64) -> bool {
        self.run(name, || self.execute(name, command, minutes).map(|()| ((), String::new()))).is_some()
    }

    /// Runs a program of the step `name`, which must exit with 0.
    pub(super) fn execute(&self, name: &str, command: &mut Command, minutes: u64) -> Result<()> {
        let log = self.log(name);
        let ended = host::run_logged(command, &log, Duration::from_secs(60 * minutes))?;
        if ended.code() == Some(0) {
            return Ok(());
        }
        let text = host::read_lossy(&log)?;
        let mut detail = format!("{ended}; all of it is in {}", log.display());
        for line in complaints(&text) {
            let _ = write!(detail, "\n{line}");
        }
        Err(Error::Program { program: command.get_program().to_string_lossy().into_owned(), detail })
    }

    /// Steps run, failures in one line each, and the time since the start.
    pub(super) fn close(self) -> (usize, Vec<String>, Duration) {
        let told = self.told.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        (told.count, told.failures, self.started.elapsed())
    }
}

/// The compiler's errors with what follows each, every one once, or else the end of the text.
pub(super) fn complaints(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        if (line.starts_with("error") || line.starts_with("Diff in "))
            && seen.insert((*line, lines.get(at + 1)))
        {
            out.extend(lines[at..].iter().take_while(|line| !line.is_empty()).take(8));
        }
        if out.len() > 60 {
            break;
        }
    }
    if out.is_empty() { host::tail(text, 30) } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_told_and_the_run_goes_on() {
        let steps = Steps::new(std::env::temp_dir());
        assert_eq!(steps.run("a", || Ok((5, String::new()))), Some(5));
        assert_eq!(steps.run::<()>("b", || Err(Error::Check("no\nmore".into()))), None);
        let (count, failures, _) = steps.close();
        assert_eq!((count, failures.as_slice()), (2, ["b: no".to_owned()].as_slice()));
    }

    #[test]
    fn compiler_errors_are_found_in_the_log() {
        let text = "   Compiling x\nerror[E0001]: bad\n --> src/lib.rs\n\nwarning: w\n";
        assert_eq!(complaints(text), ["error[E0001]: bad", " --> src/lib.rs"]);
        assert_eq!(complaints("a\n\nb\n"), ["a", "b"]);
    }
}
