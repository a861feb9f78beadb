//! The same image in QEMU and in Bochs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One cylinder of 16 heads and 63 sectors.
const DISK: usize = 16 * 63 * 512;
/// How long nothing may be printed at first, and later.
const TO_BOOT: Duration = Duration::from_secs(60);
const TO_GO_ON: Duration = Duration::from_secs(10);
/// Far more than a group prints.
const MOST: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Qemu,
    Bochs,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Bochs => "bochs",
        }
    }

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-system-i386",
            Self::Bochs => "bochs",
        }
    }

    pub(crate) fn packages(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-system-x86",
            Self::Bochs => "bochs bochs-x",
        }
    }

    pub(crate) fn present(self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(self.program()).is_file())
    }

    /// What a group prints there. `again`: a triple fault boots once more and does not end the run.
    pub(crate) fn run(self, image: &[u8], name: &str, again: bool) -> Result<String, String> {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("boot_suite-{}-{name}", self.name()));
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let mut disk = image.to_vec();
        disk.resize(DISK, 0);
        let (disk_at, out) = (dir.join("disk.img"), dir.join("out.txt"));
        let _ = std::fs::remove_file(&out);
        std::fs::write(&disk_at, disk).map_err(|e| e.to_string())?;
        let mut command = match self {
            Self::Qemu => qemu(&disk_at, &out, again),
            Self::Bochs => bochs(&dir, &disk_at, &out)?,
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("{}: {e}", self.program()))?;
        wait(child, &out);
        let text = std::fs::read(&out).map_err(|e| format!("{} printed nothing: {e}", self.program()))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// A peer that does not come to an end, or prints without one, is ended; what it printed until then is compared.
fn wait(mut child: Child, out: &Path) {
    let (mut last, mut grown) = (Instant::now(), 0);
    while matches!(child.try_wait(), Ok(None)) {
        let len = std::fs::metadata(out).map_or(0, |m| m.len());
        if len != grown {
            (last, grown) = (Instant::now(), len);
        }
        let patience = if len == 0 { TO_BOOT } else { TO_GO_ON };
        if last.elapsed() > patience || len > MOST {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn qemu(disk: &Path, out: &Path, again: bool) -> Command {
    let mut c = Command::new(Peer::Qemu.program());
    c.args(["-machine", "pc", "-accel", "tcg", "-cpu", "pentium3", "-m", "16", "-display", "none"]);
    c.args(["-net", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
    c.arg("-serial").arg(format!("file:{}", out.display()));
    c.arg("-drive").arg(format!("file={},format=raw,if=ide", disk.display()));
    if !again {
        c.arg("-no-reboot");
    }
    c
}

/// The first of these files that is there. Debian's package of Bochs is content with either.
fn firmware(files: &[&'static str]) -> Result<&'static str, String> {
    let found = files.iter().find(|file| Path::new(file).is_file());
    found.copied().ok_or_else(|| format!("none of {files:?}; apt-get install bochsbios vgabios"))
}

fn bochs(dir: &Path, disk: &Path, out: &Path) -> Result<Command, String> {
    let (rc, go): (PathBuf, PathBuf) = (dir.join("bochsrc"), dir.join("go"));
    let text = format!(
        "config_interface: textconfig\n\
         display_library: rfb, options=\"timeout=0\"\n\
         memory: host=32, guest=32\n\
         romimage: file={}\n\
         vgaromimage: file={}\n\
         cpu: model=p3_katmai, count=1, ips=50000000, reset_on_triple_fault=1, ignore_bad_msrs=0\n\
         pci: enabled=1, chipset=i440fx\n\
         boot: disk\n\
         ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14\n\
         ata0-master: type=disk, path=\"{}\", mode=flat, cylinders=1, heads=16, spt=63\n\
         com1: enabled=1, mode=file, dev={}\n\
         log: {}\n\
         panic: action=fatal\n\
         clock: sync=none, time0=local\n",
        firmware(&["/usr/share/bochs/BIOS-bochs-latest", "/usr/share/seabios/bios.bin"])?,
        firmware(&["/usr/share/vgabios/vgabios.bin", "/usr/share/seabios/vgabios-stdvga.bin"])?,
        disk.display(),
        out.display(),
        dir.join("log").display()
    );
    // A build with the debugger stops at a triple fault: it is told to go on.
    std::fs::write(&rc, text).and_then(|()| std::fs::write(&go, "c\nc\nc\n")).map_err(|e| e.to_string())?;
    let mut c = Command::new(Peer::Bochs.program());
    c.args(["-q", "-f"]).arg(rc).arg("-rc").arg(go).current_dir(dir);
    Ok(c)
}
