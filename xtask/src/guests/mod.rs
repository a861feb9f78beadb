//! `cargo xtask guests`: real operating systems to boot, built from Debian's packages into `target/guests/`.

pub(crate) mod apt;
mod disk;
pub(crate) mod initramfs;
mod iso;
mod kernel;
mod qemu;
pub(crate) mod screen;

use std::fs;
use std::path::{Path, PathBuf};

use self::apt::{Apt, Packages};
use self::disk::{Disk, Grub};
use self::initramfs::{DEVICES, NETWORK, Recipe, SCSI};
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
    /// Then boot every image in qemu-system-i386 and compare its screens with the golden ones.
    #[arg(long)]
    check_qemu: bool,
    /// With --check-qemu: write the golden screens instead of comparing.
    #[arg(long, requires = "check_qemu")]
    bless: bool,
}

/// The names that can be asked for, in the order they are built.
const NAMES: [&str; 10] = [
    "kernel",
    "kernel-pae",
    "debian",
    "debian-pae",
    "debian-grub-menu",
    "debian-iso",
    "net",
    "scsi",
    "ipxe",
    "aic7xxx-seq",
];

/// Everything that shapes an output besides the packages: a change rebuilds it.
const RECIPE: &[&str] = &[
    include_str!("mod.rs"),
    include_str!("apt.rs"),
    include_str!("disk.rs"),
    include_str!("initramfs.rs"),
    include_str!("iso.rs"),
    include_str!("kernel.rs"),
    include_str!("../../../guests/common"),
    include_str!("../../../guests/init"),
    include_str!("../../../guests/init-net"),
    include_str!("../../../guests/init-scsi"),
    include_str!("../../../guests/leased"),
    GRUB_CFG,
    ISOLINUX_CFG,
];

const GRUB_CFG: &str = include_str!("../../../guests/grub.cfg");
const ISOLINUX_CFG: &str = include_str!("../../../guests/isolinux.cfg");

/// The kernel command line of every guest; `gt=` and the list of what must be there is appended.
const APPEND: &str = "cryptomgr.notests=1 console=tty0 console=ttyS0,115200 panic=-1";

/// The program that Linux's driver downloads into an AIC-7870, for the adapter's tests. It is not ours, so it is not in the tree.
pub(crate) const AIC7XXX_SEQ: &str = "aic7xxx_seq.h_shipped";
const KERNEL_SOURCE: &str = "linux-source-6.1";

const BUSYBOX: &str = "busybox-static:i386";
/// What the fetched `grub-mkimage` is linked with besides the C library.
const GRUB_LIBRARIES: [&str; 5] =
    ["libdevmapper1.02.1", "liblzma5", "libpcre2-8-0", "libselinux1", "libudev1"];

/// A kernel flavour and the names its pieces get.
struct Flavour {
    name: &'static str,
    title: &'static str,
    meta: &'static str,
    vmlinux: &'static str,
    vmlinuz: &'static str,
    initrd: &'static str,
}

const FLAVOUR_686: Flavour = Flavour {
    name: "kernel",
    title: "-686",
    meta: "linux-image-686:i386>",
    vmlinux: "vmlinux-686",
    vmlinuz: "vmlinuz-686",
    initrd: "initrd.gz",
};

const FLAVOUR_PAE: Flavour = Flavour {
    name: "kernel-pae",
    title: "-686-pae",
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
    let grub_modules = format!("grub-pc-bin{}", apt.x86_suffix());
    let mut names: Vec<String> = [
        FLAVOUR_686.meta,
        FLAVOUR_PAE.meta,
        BUSYBOX,
        "isolinux",
        "syslinux-common",
        "grub-common",
        "ipxe",
        KERNEL_SOURCE,
    ]
    .iter()
    .chain(&GRUB_LIBRARIES)
    .chain([NETWORK, SCSI].iter().flat_map(|recipe| recipe.programs.iter().map(|(package, _)| package)))
    .map(|name| (*name).to_owned())
    .collect();
    names.push(grub_modules.clone());
    let builder = Builder { packages: apt.fetch(&names, args.refresh)?, grub_modules, out };
    for name in NAMES {
        if args.name.as_deref().is_none_or(|wanted| wanted == name) {
            builder.build(name)?;
        }
    }
    if args.check_qemu {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("guests").join("golden");
        qemu::check(&builder.out, &golden, args.bless)?;
    }
    Ok(())
}

struct Builder {
    packages: Packages,
    grub_modules: String,
    out: PathBuf,
}

impl Builder {
    fn build(&self, name: &str) -> Result<()> {
        match name {
            "kernel" => self.kernel(&FLAVOUR_686),
            "kernel-pae" => self.kernel(&FLAVOUR_PAE),
            "debian" => self.disk(name, &FLAVOUR_686, 1, disk::SMALL),
            "debian-pae" => self.disk(name, &FLAVOUR_PAE, 1, disk::LARGEST),
            "debian-grub-menu" => self.disk(name, &FLAVOUR_686, -1, disk::SMALL),
            "debian-iso" => self.iso(name, &FLAVOUR_686),
            "net" => self.initramfs(name, "initrd-net.gz", &NETWORK),
            "ipxe" => self.cached(name, &["ipxe.iso"], || {
                let image = apt::file(self.packages.deb("ipxe")?, "usr/lib/ipxe/ipxe.iso")?;
                write_whole(&self.out.join("ipxe.iso"), &image)
            }),
            "aic7xxx-seq" => self.cached(name, &[AIC7XXX_SEQ], || {
                let text = apt::source_file(
                    self.packages.deb(KERNEL_SOURCE)?,
                    &format!("drivers/scsi/aic7xxx/{AIC7XXX_SEQ}"),
                )?;
                write_whole(&self.out.join(AIC7XXX_SEQ), &text)
            }),
            "scsi" => self.initramfs(name, "initrd-scsi.gz", &SCSI),
            _ => Err(Error::Input(format!("no guest is called {name}"))),
        }
    }

    /// Runs `make` unless `files` are all there and were made from the same recipe and packages.
    fn cached(&self, name: &str, files: &[&str], make: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut key = RECIPE.concat();
        key.push_str(&self.packages.versions());
        let key = initramfs::sha256_hex(key.as_bytes());
        let stamp = self.out.join(format!(".{name}.stamp"));
        if files.iter().all(|file| self.out.join(file).is_file())
            && fs::read_to_string(&stamp).is_ok_and(|text| text == key)
        {
            return Ok(());
        }
        make()?;
        for file in files {
            let path = self.out.join(file);
            let size = fs::metadata(&path).at(&path)?.len();
            eprintln!("guests: {} ({} KB)", path.display(), size / 1024);
        }
        write_whole(&stamp, key.as_bytes())
    }

    fn kernel(&self, flavour: &Flavour) -> Result<()> {
        self.cached(flavour.name, &[flavour.vmlinux, flavour.vmlinuz, flavour.initrd], || {
            let mut kernel = Kernel::read(self.packages.deb(flavour.meta)?)?;
            let busybox = apt::file(self.packages.deb(BUSYBOX)?, "bin/busybox")?;
            let modules = kernel.module_tree(DEVICES.modules)?;
            let initrd = initramfs::build(&DEVICES, &busybox, &kernel.release, &modules, &[])?;
            write_whole(&self.out.join(flavour.vmlinux), &kernel::extract_vmlinux(&kernel.bzimage)?)?;
            write_whole(&self.out.join(flavour.vmlinuz), &kernel.bzimage)?;
            write_whole(&self.out.join(flavour.initrd), &initrd)
        })
    }

    /// An initramfs of its own for the -686 kernel.
    fn initramfs(&self, name: &str, file: &str, recipe: &Recipe) -> Result<()> {
        self.cached(name, &[file], || {
            let mut kernel = Kernel::read(self.packages.deb(FLAVOUR_686.meta)?)?;
            let busybox = apt::file(self.packages.deb(BUSYBOX)?, "bin/busybox")?;
            let modules = kernel.module_tree(recipe.modules)?;
            let mut programs = Vec::new();
            for (package, files) in recipe.programs {
                programs.extend(apt::programs_and_libraries(self.packages.deb(package)?, files)?);
            }
            let initrd = initramfs::build(recipe, &busybox, &kernel.release, &modules, &programs)?;
            write_whole(&self.out.join(file), &initrd)
        })
    }

    /// Kernel and initramfs of a flavour, built if need be.
    fn kernel_files(&self, flavour: &Flavour) -> Result<(Vec<u8>, Vec<u8>)> {
        self.kernel(flavour)?;
        let read = |name: &str| {
            let path = self.out.join(name);
            fs::read(&path).at(&path)
        };
        Ok((read(flavour.vmlinuz)?, read(flavour.initrd)?))
    }

    fn disk(&self, name: &str, flavour: &Flavour, timeout: i32, sectors: u64) -> Result<()> {
        let file = format!("{name}.vhd");
        self.cached(name, &[&file], || {
            let (kernel, initrd) = self.kernel_files(flavour)?;
            let grub =
                Grub::build(&self.packages, &self.out.join("work"), &self.grub_modules, &GRUB_LIBRARIES)?;
            let menu = GRUB_CFG
                .replace("@TIMEOUT@", &timeout.to_string())
                .replace("@FLAVOUR@", flavour.title)
                .replace("@CMDLINE@", &format!("{APPEND} gt=disk"));
            let data = test_files();
            let mut files: Vec<(&str, &[u8])> = vec![
                ("boot/grub/grub.cfg", menu.as_bytes()),
                ("boot/vmlinuz", &kernel),
                ("boot/initrd.gz", &initrd),
            ];
            files.extend(data.iter().map(|(path, content)| (*path, content.as_slice())));
            Disk::build(&grub, &files, sectors)?.write_vhd(&self.out.join(&file), initramfs::id(name))
        })
    }

    fn iso(&self, name: &str, flavour: &Flavour) -> Result<()> {
        self.cached(name, &["debian.iso"], || {
            let (kernel, initrd) = self.kernel_files(flavour)?;
            let isolinux = apt::file(self.packages.deb("isolinux")?, "usr/lib/ISOLINUX/isolinux.bin")?;
            let ldlinux = apt::file(
                self.packages.deb("syslinux-common")?,
                "usr/lib/syslinux/modules/bios/ldlinux.c32",
            )?;
            let menu = ISOLINUX_CFG.replace("@CMDLINE@", &format!("{APPEND} gt=cd"));
            let file = |path, content| iso::File { path, content };
            let mut files = vec![
                file("ISOLINUX/ISOLINUX.BIN".to_owned(), isolinux),
                file("ISOLINUX/LDLINUX.C32".to_owned(), ldlinux),
                file("ISOLINUX/ISOLINUX.CFG".to_owned(), menu.into_bytes()),
                file("VMLINUZ".to_owned(), kernel),
                file("INITRD.GZ".to_owned(), initrd),
            ];
            files.extend(test_files().into_iter().map(|(path, content)| file(path.to_uppercase(), content)));
            let image = iso::build("SLOT_ONE", files, "ISOLINUX/ISOLINUX.BIN")?;
            write_whole(&self.out.join("debian.iso"), &image)
        })
    }
}

/// Files of awkward sizes whose sums a guest checks, with the list of the sums.
fn test_files() -> Vec<(&'static str, Vec<u8>)> {
    let mut files = Vec::new();
    let mut sums = String::new();
    for (path, size) in [
        ("gt/one", 1),
        ("gt/under", 2047),
        ("gt/exact", 2048),
        ("gt/over", 2049),
        ("gt/odd", 65_537),
        ("gt/data.bin", 1 << 20),
    ] {
        let content = initramfs::noise(size as u64, size);
        let name = path.trim_start_matches("gt/");
        sums.push_str(&format!("{}  {name}\n", initramfs::sha256_hex(&content)));
        files.push((path, content));
    }
    files.push(("gt/sums", sums.into_bytes()));
    files
}

/// Writes a file so that it is there whole or not at all.
fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    fs::write(&partial, content).at(&partial)?;
    fs::rename(&partial, path).at(path)
}
