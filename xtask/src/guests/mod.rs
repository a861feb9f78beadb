//! `cargo xtask guests`: real operating systems to boot, built from Debian's packages into `target/guests/`.

mod apt;
mod initramfs;
mod kernel;

use std::fs;
use std::path::{Path, PathBuf};

use self::apt::{Apt, Packages};
use self::kernel::Kernel;
use crate::error::{Error, IoContext, Result};

/// Options of `cargo xtask guests`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to build (all of it when left out).
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(NAMES))]
    name: Option<String>,
    /// Ask the registry again instead of using the packages fetched before.
    #[arg(long)]
    refresh: bool,
}

/// The names that can be asked for, in the order they are built.
const NAMES: [&str; 2] = ["kernel", "kernel-pae"];

/// Everything that shapes an output besides the packages: a change rebuilds it.
const RECIPE: &[&str] = &[
    include_str!("mod.rs"),
    include_str!("apt.rs"),
    include_str!("initramfs.rs"),
    include_str!("kernel.rs"),
    include_str!("../../../guests/init"),
];

const BUSYBOX: &str = "busybox-static:i386";

/// A kernel flavour and the names its pieces get.
struct Flavour {
    meta: &'static str,
    vmlinux: &'static str,
    vmlinuz: &'static str,
    initrd: &'static str,
}

const FLAVOUR_686: Flavour = Flavour {
    meta: "linux-image-686:i386>",
    vmlinux: "vmlinux-686",
    vmlinuz: "vmlinuz-686",
    initrd: "initrd.gz",
};

const FLAVOUR_PAE: Flavour = Flavour {
    meta: "linux-image-686-pae:i386>",
    vmlinux: "vmlinux-686-pae",
    vmlinuz: "vmlinuz-686-pae",
    initrd: "initrd-pae.gz",
};

/// The folder all guests go to, wherever cargo builds.
fn output_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    root.join("target/guests")
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let out = output_folder();
    fs::create_dir_all(&out).at(&out)?;
    let apt = Apt::open(&out.join("apt"))?;
    let x86 = apt.x86_suffix();
    let mut names: Vec<String> = [FLAVOUR_686.meta, FLAVOUR_PAE.meta, BUSYBOX, "isolinux", "syslinux-common", "grub-common"]
        .map(str::to_owned)
        .into();
    names.push(format!("grub-pc-bin{x86}"));
    let builder = Builder {
        packages: apt.fetch(&names, args.refresh)?,
        out,
    };
    for name in NAMES {
        if args.name.as_deref().is_none_or(|wanted| wanted == name) {
            builder.build(name)?;
        }
    }
    Ok(())
}

struct Builder {
    packages: Packages,
    out: PathBuf,
}

impl Builder {
    fn build(&self, name: &str) -> Result<()> {
        match name {
            "kernel" => self.kernel(&FLAVOUR_686),
            "kernel-pae" => self.kernel(&FLAVOUR_PAE),
            _ => Err(Error::Input(format!("no guest is called {name}"))),
        }
    }

    /// Runs `make` unless `files` are all there and were made from the same recipe and packages; it gets their contents written.
    fn cached(&self, name: &str, files: &[&str], make: impl FnOnce() -> Result<Vec<Vec<u8>>>) -> Result<()> {
        let mut key = RECIPE.concat();
        key.push_str(&self.packages.versions());
        let key = initramfs::sha256_hex(key.as_bytes());
        let stamp = self.out.join(format!(".{name}.stamp"));
        let paths: Vec<PathBuf> = files.iter().map(|file| self.out.join(file)).collect();
        if paths.iter().all(|p| p.is_file()) && fs::read_to_string(&stamp).is_ok_and(|text| text == key) {
            return Ok(());
        }
        let contents = make()?;
        for (path, content) in paths.iter().zip(contents) {
            write_whole(path, &content)?;
            eprintln!("guests: {} ({} bytes)", path.display(), content.len());
        }
        write_whole(&stamp, key.as_bytes())
    }

    fn kernel(&self, flavour: &Flavour) -> Result<()> {
        self.cached(flavour.vmlinux, &[flavour.vmlinux, flavour.vmlinuz, flavour.initrd], || {
            let mut kernel = Kernel::read(self.packages.deb(flavour.meta)?)?;
            let busybox = apt::file(self.packages.deb(BUSYBOX)?, "bin/busybox")?;
            let modules = kernel.module_tree(initramfs::MODULES)?;
            let initrd = initramfs::build(&busybox, &kernel.release, &modules)?;
            Ok(vec![kernel::extract_vmlinux(&kernel.bzimage)?, kernel.bzimage, initrd])
        })
    }
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    fs::write(&partial, content).at(&partial)?;
    fs::rename(&partial, path).at(path)
}
