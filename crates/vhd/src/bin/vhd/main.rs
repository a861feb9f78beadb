//! `vhd`: create, look at, change and serve virtual hard disks.
#![forbid(unsafe_code)]

mod bench;
mod info;
mod serve;
mod undo;
mod ux;
mod verbs;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use ux::{Failure, Size};

const AFTER: &str = "\
Sizes: a number of bytes, or with K, M, G or T for powers of 1024 (20G, 512M).

Exit status: 0 done; 1 bad arguments; 2 a file cannot be used; 3 `check` found damage; 4 `check --repair` repaired it;
5 a parent disk is missing or is not the right one; 130 interrupted, all files usable.";

#[derive(Parser)]
#[command(name = "vhd", version, about = "Virtual hard disks: create, look at, change, serve.", after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a new disk; dynamic (growing as it is written) unless told otherwise
    Create(Create),
    /// Kind, sizes, geometry, creator, ids, chain, allocated blocks
    Info {
        /// Image file, raw image or block device
        path: PathBuf,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Copy a disk of any kind into a new one of another kind, leaving out zeros
    Convert(Convert),
    /// Write a differencing disk into its parent, or both into a new disk
    Merge {
        /// The differencing disk
        child: PathBuf,
        /// Leave both as they are and make this new dynamic disk of them
        #[arg(long, value_name = "NEW")]
        into: Option<PathBuf>,
        /// Keep the child's file after it was merged into its parent
        #[arg(long, conflicts_with = "into")]
        keep: bool,
    },
    /// Drop blocks that hold nothing and close the gaps, in place
    Compact {
        /// A dynamic or differencing disk
        path: PathBuf,
        /// Also drop what the FAT and NTFS volumes on the disk do not use
        #[arg(long)]
        free_space: bool,
    },
    /// Give a disk another size
    Resize {
        /// The disk
        path: PathBuf,
        /// New size
        #[arg(long, value_name = "N[M|G|T]")]
        size: Size,
        /// Allow a smaller size: what is beyond it is lost
        #[arg(long)]
        shrink: bool,
    },
    /// Tell a differencing disk where its parent is now
    Reconnect {
        /// The differencing disk
        child: PathBuf,
        /// Its parent
        #[arg(long)]
        parent: PathBuf,
        /// Take this parent although it has another id
        #[arg(long)]
        any_id: bool,
    },
    /// Look for everything that is wrong with an image file
    Check {
        /// The image
        path: PathBuf,
        /// Put right what can be
        #[arg(long)]
        repair: bool,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// The undo session of one or several disks
    Undo {
        #[command(subcommand)]
        what: undo::What,
    },
    /// The disk over NBD, for any NBD client
    Serve {
        /// Image file, raw image or block device
        path: PathBuf,
        /// Where to listen: ADDRESS:PORT or unix:PATH
        #[arg(long, value_name = "ADDR|unix:PATH")]
        nbd: String,
        /// Refuse writes
        #[arg(long)]
        readonly: bool,
    },
    /// Operations and bytes a second; writes put back what they find
    Bench(bench::Bench),
}

#[derive(Args)]
struct Create {
    /// The new file
    path: PathBuf,
    /// Size; with --parent, the parent's if left out
    #[arg(long, value_name = "N[M|G|T]", required_unless_present = "parent")]
    size: Option<Size>,
    /// All sectors in the file
    #[arg(long, conflicts_with_all = ["dynamic", "parent"])]
    fixed: bool,
    /// Growing as it is written (the default)
    #[arg(long, conflicts_with = "parent")]
    dynamic: bool,
    /// A differencing disk on this parent
    #[arg(long)]
    parent: Option<PathBuf>,
    /// Bytes in a block; Microsoft's products know 512K and 2M
    #[arg(long, value_name = "N", default_value = "2M")]
    block_size: Size,
    /// Take all room of a fixed disk now
    #[arg(long, requires = "fixed")]
    preallocate: bool,
}

#[derive(Args)]
struct Convert {
    /// VHD of any kind, raw image or block device
    source: PathBuf,
    /// The new file
    target: PathBuf,
    /// Make a fixed disk
    #[arg(long, group = "kind")]
    fixed: bool,
    /// Make a dynamic disk (the default)
    #[arg(long, group = "kind")]
    dynamic: bool,
    /// Make a raw image
    #[arg(long, group = "kind")]
    raw: bool,
    /// Which size of the source counts
    #[arg(long, value_enum, default_value = "current")]
    size_from: SizeFrom,
    /// Do not wait until the result is durable
    #[arg(long)]
    no_sync: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum SizeFrom {
    /// The size field
    Current,
    /// What the geometry covers, as Virtual PC and Virtual Server show it to a guest
    Geometry,
    /// Geometry for images of Virtual PC, Virtual Server and qemu, else the size field
    Creator,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are no mistakes.
            let code = if e.use_stderr() { 1 } else { 0 };
            let _ = e.print();
            return ExitCode::from(code);
        }
    };
    let done = ux::stop_on_signals().and_then(|stop| match cli.verb {
        Verb::Create(c) => verbs::create(&c),
        Verb::Info { path, json } => info::info(&path, json),
        Verb::Convert(c) => verbs::convert(&c, &stop),
        Verb::Merge { child, into, keep } => verbs::merge(&child, into.as_deref(), keep, &stop),
        Verb::Compact { path, free_space } => verbs::compact(&path, free_space, &stop),
        Verb::Resize { path, size, shrink } => verbs::resize(&path, size.0, shrink),
        Verb::Reconnect { child, parent, any_id } => verbs::reconnect(&child, &parent, any_id),
        Verb::Check { path, repair, json } => verbs::check(&path, repair, json),
        Verb::Undo { what } => undo::undo(&what, &stop),
        Verb::Serve { path, nbd, readonly } => serve::serve(&path, &nbd, readonly, &stop),
        Verb::Bench(b) => bench::bench(&b),
    });
    match done {
        Ok(code) => code,
        Err(Failure { message, code }) => {
            eprintln!("vhd: {message}");
            ExitCode::from(code)
        }
    }
}
