//! The initramfs of the test guest: busybox, the kernel's modules, our init and the answers it expects.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::apt::Entry;
use super::kernel::ModuleTree;
use crate::error::{IoContext, Result};

/// What every init begins with.
const COMMON: &str = include_str!("../../../guests/common");

/// An initramfs: its init, and what that needs.
pub(crate) struct Recipe {
    init: &'static str,
    /// More files of ours.
    files: &'static [(&'static str, &'static str)],
    /// Modules beyond what these need are not taken: each costs a guest instructions.
    pub(crate) modules: &'static [&'static str],
    /// busybox applets that get a name in /bin, besides [`APPLETS`].
    applets: &'static [&'static str],
    /// Debian packages and the programs that are taken out of them, with the package's libraries.
    pub(crate) programs: &'static [(&'static str, &'static [&'static str])],
}

/// Works every device of the board.
pub(crate) const DEVICES: Recipe = Recipe {
    init: include_str!("../../../guests/init"),
    files: &[],
    modules: &[
        "ata_piix",
        "aic7xxx",
        "sd_mod",
        "sr_mod",
        "isofs",
        "vfat",
        "nls_cp437",
        "nls_ascii",
        "i2c_piix4",
        "psmouse",
    ],
    applets: &["cmp", "gunzip", "gzip", "hexdump", "wc", "yes", "zcat"],
    programs: &[],
};

/// Works network cards.
pub(crate) const NETWORK: Recipe = Recipe {
    init: include_str!("../../../guests/init-net"),
    files: &[("gt/leased", include_str!("../../../guests/leased"))],
    modules: &["tulip"],
    applets: &["arp", "basename", "ifconfig", "ip", "udhcpc", "wget"],
    programs: &[
        ("iputils-ping:i386", &["bin/ping"]),
        ("ethtool:i386", &["sbin/ethtool"]),
        ("net-tools:i386", &["sbin/ipmaddr", "sbin/mii-tool"]),
        ("libc6:i386", &[]),
        ("libcap2:i386", &[]),
        ("libidn2-0:i386", &[]),
        ("libmnl0:i386", &[]),
        ("libunistring2:i386", &[]),
    ],
};

/// Works SCSI disks.
pub(crate) const SCSI: Recipe = Recipe {
    init: include_str!("../../../guests/init-scsi"),
    files: &[],
    // The second driver is that of QEMU's adapter, for comparison.
    modules: &["aic7xxx", "sym53c8xx", "sd_mod", "sr_mod", "sg", "ext4", "crc32c_generic"],
    applets: &["basename", "blkid", "cp", "fdisk", "find", "mkdir", "sort", "tr", "wc", "xargs"],
    programs: &[
        ("e2fsprogs:i386", &["sbin/mke2fs", "sbin/e2fsck"]),
        ("sg3-utils:i386", &["usr/bin/sg_reset"]),
        ("libblkid1:i386", &[]),
        ("libc6:i386", &[]),
        ("libcom-err2:i386", &[]),
        ("libext2fs2:i386", &[]),
        ("libsgutils2-1.46-2:i386", &[]),
        ("libuuid1:i386", &[]),
    ],
};

/// busybox applets that every init uses.
const APPLETS: &[&str] = &[
    "awk",
    "cat",
    "cut",
    "dd",
    "dmesg",
    "grep",
    "head",
    "modprobe",
    "mount",
    "poweroff",
    "readlink",
    "realpath",
    "sh",
    "sha256sum",
    "sleep",
    "tail",
    "umount",
    "uname",
    "usleep",
];

/// Bytes that look random, the same in every build (xorshift64*).
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(length);
    out
}

/// SHA-256 as lower-case hex.
pub(crate) fn sha256_hex(data: &[u8]) -> String {
    Sha256::digest(data).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A random (version 4) UUID that is always the same for `name`.
pub(crate) fn id(name: &str) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&Sha256::digest(name)[..16]);
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

/// Compresses for a guest; the same input gives the same bytes.
pub(crate) fn gzip(data: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).at("gzip")?;
    encoder.finish().at("gzip")
}

/// Text that compresses about as well as prose.
fn text() -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "bridge", "timer", "sector", "vector", "window", "line", "port", "page", "cycle", "burst", "latch",
        "strobe", "parity", "carry", "offset", "mode",
    ];
    let mut out = Vec::new();
    for byte in noise(1, 40_000) {
        out.extend_from_slice(WORDS[usize::from(byte & 15)].as_bytes());
        out.push(if byte & 0xf0 == 0 { b'\n' } else { b' ' });
    }
    out
}

/// Known answers, as shell assignments. They are computed here, except for the floating-point line: that was taken from
/// Debian's i386 busybox on a real x86 CPU (its x87); 12 digits, on which x87, SSE2 and a second implementation agree.
fn expected(text: &[u8]) -> String {
    let yes: Vec<u8> = b"Slot One\n".iter().copied().cycle().take(262_144).collect();
    let mut x: i64 = 1;
    for _ in 0..1000 {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    }
    format!(
        "SHA256_YES={}\nSHA256_TEXT={}\nAWK_FLOAT='{}'\nINT64='{x} {} {} {}'\n",
        sha256_hex(&yes),
        sha256_hex(text),
        "27.9395045954 41464.622 1.159e+306 41464",
        x / 1_000_003,
        x % 1_000_003,
        (x >> 7) ^ (x << 9),
    )
}

/// The compressed archive by `recipe` for a kernel of this `release`; `programs` are the entries of the recipe's packages.
pub(crate) fn build(
    recipe: &Recipe,
    busybox: &[u8],
    release: &str,
    modules: &ModuleTree,
    programs: &[(String, Entry)],
) -> Result<Vec<u8>> {
    let text = text();
    let mut cpio = Cpio::default();
    for folder in ["bin", "dev", "etc", "gt", "mnt", "proc", "sys", "tmp"] {
        cpio.folder(folder);
    }
    cpio.device("dev/console", 5, 1);
    cpio.file("init", 0o755, recipe.init.as_bytes());
    cpio.file("gt/common", 0o644, COMMON.as_bytes());
    for (path, content) in recipe.files {
        cpio.file(path, 0o755, content.as_bytes());
    }
    cpio.file("bin/busybox", 0o755, busybox);
    for applet in APPLETS.iter().chain(recipe.applets) {
        cpio.link(&format!("bin/{applet}"), "busybox");
    }
    for (path, entry) in programs {
        // Programs all go to /bin; libraries stay where the loader looks for them.
        let place = match path.rsplit_once('/') {
            Some((folder, name)) if folder.ends_with("bin") => format!("bin/{name}"),
            _ => path.clone(),
        };
        match entry {
            Entry::File(content) => cpio.file(&place, 0o755, content),
            Entry::Link(target) => cpio.link(&place, target),
        }
    }
    cpio.file("gt/expected", 0o644, expected(&text).as_bytes());
    cpio.file("gt/text.gz", 0o644, &gzip(&text)?);
    for (path, content) in &modules.files {
        cpio.file(&format!("lib/modules/{release}/{path}"), 0o644, content);
    }
    gzip(&cpio.finish())
}

/// A cpio archive in the "newc" form that the kernel unpacks (Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Default)]
struct Cpio {
    out: Vec<u8>,
    inode: u32,
    folders: BTreeSet<String>,
}

impl Cpio {
    fn folder(&mut self, path: &str) {
        if self.folders.insert(path.to_owned()) {
            if let Some((parent, _)) = path.rsplit_once('/') {
                self.folder(parent);
            }
            self.entry(path, 0o040_755, (0, 0), b"");
        }
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent);
        }
        self.entry(path, 0o100_000 | mode, (0, 0), content);
    }

    fn link(&mut self, path: &str, target: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent);
        }
        self.entry(path, 0o120_777, (0, 0), target.as_bytes());
    }

    fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, 0o020_600, (major, minor), b"");
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        self.inode += 1;
        let fields = [
            self.inode,
            mode,
            0,
            0,
            1,
            0,
            content.len() as u32,
            0,
            0,
            major,
            minor,
            path.len() as u32 + 1,
            0,
        ];
        self.out.extend_from_slice(b"070701");
        for field in fields {
            self.out.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.out.extend_from_slice(path.as_bytes());
        self.out.push(0);
        self.pad();
        self.out.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.out.resize(self.out.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), b"");
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_their_files_and_once() {
        let mut cpio = Cpio::default();
        cpio.file("a/b/c", 0o644, b"xyz");
        cpio.file("a/b/d", 0o644, b"");
        let archive = cpio.finish();
        let names: Vec<String> = archive
            .windows(6)
            .enumerate()
            .filter(|(_, w)| *w == b"070701")
            .map(|(at, _)| {
                let name = &archive[at + 110..];
                String::from_utf8_lossy(name.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
            })
            .collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/b/d", "TRAILER!!!"]);
        assert_eq!(archive.len() % 4, 0);
    }

    #[test]
    fn no_init_spells_the_verdict() {
        for script in [COMMON, DEVICES.init, NETWORK.init, SCSI.init] {
            assert!(!script.contains(concat!("GUEST-", "TESTS")));
        }
    }
}
