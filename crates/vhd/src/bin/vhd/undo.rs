use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use slotone_vhd::undo::{UndoSession, UndoState};

use crate::ux::{Bar, Failure, Stop};

/// What to do with a session.
#[derive(Subcommand)]
pub(crate) enum What {
    /// Begin a session: from now on changes go to undo disks beside the disks
    Start {
        /// All disks of the machine
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Write all changes into the disks and end the session
    Commit {
        /// One or all disks of the session
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Forget all changes and end the session
    Discard {
        /// One or all disks of the session
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Whether there is a session, its undo disks, and whether it was interrupted
    Status {
        /// Disks
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
}

pub(crate) fn undo(what: &What, stop: &Stop) -> Result<ExitCode, Failure> {
    match what {
        What::Start { paths } => {
            let session = UndoSession::start(paths)?;
            for m in session.disks() {
                println!("{}: changes go to {}", m.disk.display(), m.undo.display());
            }
        }
        What::Commit { paths } => {
            let session = the_session(paths)?;
            let state = session.state();
            let mut bar = Bar::new("committing", stop);
            match state {
                UndoState::Active | UndoState::Committing => session.commit(&mut |d, t| bar.step(d, t))?,
                UndoState::Committed => drop(session.finish(&mut |d, t| bar.step(d, t))?),
                UndoState::Starting | UndoState::Discarding => return Err(over(&session)),
            }
            drop(bar);
            println!("committed");
        }
        What::Discard { paths } => {
            let session = the_session(paths)?;
            match session.state() {
                UndoState::Active | UndoState::Discarding => session.discard()?,
                UndoState::Starting => drop(session.finish(&mut slotone_vhd::quiet())?),
                UndoState::Committing | UndoState::Committed => return Err(over(&session)),
            }
            println!("discarded");
        }
        What::Status { paths } => {
            for path in paths {
                match UndoSession::find(path)? {
                    None => println!("{}: no undo session", path.display()),
                    Some(s) => {
                        println!("{}: undo session {}", path.display(), s.state().name());
                        for m in s.disks() {
                            println!("  {} -> {}", m.disk.display(), m.undo.display());
                        }
                        match s.state() {
                            UndoState::Active => {}
                            UndoState::Committing | UndoState::Committed => {
                                println!(
                                    "  its commit was interrupted: finish it with vhd undo commit {}",
                                    path.display()
                                );
                            }
                            UndoState::Starting | UndoState::Discarding => {
                                println!(
                                    "  it was interrupted: end it with vhd undo discard {}",
                                    path.display()
                                );
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The one session that all paths belong to.
fn the_session(paths: &[PathBuf]) -> Result<UndoSession, Failure> {
    let mut found: Option<UndoSession> = None;
    for path in paths {
        let Some(s) = UndoSession::find(path)? else {
            return Err(Failure::new(format!("{}: no undo session", path.display())));
        };
        if found.as_ref().is_some_and(|f| f.journal() != s.journal()) {
            return Err(Failure::new(format!("{}: belongs to another undo session", path.display())));
        }
        found = Some(s);
    }
    found.ok_or_else(|| Failure::new("no disk was named"))
}

fn over(s: &UndoSession) -> Failure {
    let (was, verb) = match s.state() {
        UndoState::Committing | UndoState::Committed => ("commit", "commit"),
        _ => ("beginning or discard", "discard"),
    };
    Failure::new(format!("the session's {was} was interrupted: only vhd undo {verb} can finish it"))
}
