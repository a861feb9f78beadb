//! The honest cross-check: the same images in Debian's qemu-system-i386, and the golden text screens taken from it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::screen::Screen;
use super::{APPEND, apt};
use crate::error::{Error, IoContext, Result};

/// The line that ends a good run. It stands in no guest: the init puts it together.
const VERDICT: &str = "GUEST-TESTS-PASS";
/// The run that enters an ELF kernel directly.
const PVH: &str = "direct -686-pae ELF";
/// How long one guest may take. TCG needs about ten seconds on a quiet machine.
const LIMIT: Duration = Duration::from_secs(240);
const PROGRAM: &str = "qemu-system-i386";
/// A PC as near to ours as QEMU has one.
const MACHINE: [&str; 6] = ["-M", "pc,hpet=off", "-cpu", "pentium3", "-m", "128"];
const OPTIONS: [&str; 6] = ["-display", "none", "-nic", "none", "-no-reboot", "-nodefaults"];

/// What the emulated clocks follow.
#[derive(Clone, Copy, PartialEq)]
enum Pace {
    /// The host's clock.
    Host,
    /// Executed instructions, 2 ns each (and the host's clock while the guest is idle). Several times slower, but even: Linux
    /// compares its clocks with each other while it boots and refuses them when a busy host makes them run unevenly.
    Instructions,
}

/// How a guest is started.
enum Boot {
    /// From the disk image of this name.
    Disk(&'static str),
    /// From the CD image of this name.
    Cd(&'static str),
    /// Kernel and initramfs, loaded by QEMU; `gt=` list. The disk and the CD are there to be tested.
    Direct(&'static str, &'static str, &'static str),
}

/// Boots every image; `bless` writes the golden screens instead of comparing with them.
pub(crate) fn check(out: &Path, golden: &Path, bless: bool) -> Result<()> {
    if apt::which(PROGRAM).is_none() {
        return Err(Error::Host(format!("{PROGRAM} (on Debian: apt-get install qemu-system-x86)")));
    }
    let runs = [
        ("direct -686", Boot::Direct("vmlinuz-686", "initrd.gz", "ide,cd")),
        (PVH, Boot::Direct("vmlinux-686-pae", "initrd-pae.gz", "ide,cd")),
        ("debian.vhd", Boot::Disk("debian.vhd")),
        ("debian-pae.vhd", Boot::Disk("debian-pae.vhd")),
        ("debian.iso", Boot::Cd("debian.iso")),
    ];
    let mut taken = bless;
    for (name, boot) in &runs {
        let first = run_tests(out, golden, name, boot, Pace::Host, &mut taken);
        if let Err(error) = first {
            eprintln!("guests: {error}; once more with clocks that follow the instructions");
            run_tests(out, golden, name, boot, Pace::Instructions, &mut taken)?;
        }
    }
    run_menu(out, golden, bless)
}

/// Boots one guest, wants its verdict, its last screen and its power-off.
fn run_tests(out: &Path, golden: &Path, name: &str, boot: &Boot, pace: Pace, taken: &mut bool) -> Result<()> {
    let started = Instant::now();
    let mut machine = Machine::start(out, name, boot, pace)?;
    machine.wait_for("the verdict", |m| Ok(verdict(&m.serial()?).is_some()))?;
    let screen = machine.screen()?;
    let text = machine.serial()?;
    if verdict(&text) != Some(VERDICT) {
        return Err(Error::Check(format!("{name}: {}", machine.complaint())));
    }
    machine.wait_for_end()?;
    // The PVH entry passes no screen_info, so Linux drives no VGA there.
    if name != PVH {
        settle(&golden.join("linux-screen.txt"), &screen, taken, name)?;
    }
    let passed = text.lines().filter(|line| line.starts_with("CHECK ") && line.contains(" ok")).count();
    let seconds = started.elapsed().as_secs_f32();
    eprintln!("guests: {name}: {VERDICT}, {passed} checks, powered off, {seconds:.1} s");
    Ok(())
}

/// The guest's closing line, once all of it has come.
fn verdict(serial: &str) -> Option<&str> {
    let at = serial.find("GUEST-TESTS-")?;
    let (line, _) = serial[at..].split_once('\n')?;
    Some(line.trim_end())
}

/// Boots the image whose menu waits, compares the menu and powers off from it.
fn run_menu(out: &Path, golden: &Path, bless: bool) -> Result<()> {
    let name = "debian-grub-menu.vhd";
    let mut machine = Machine::start(out, name, &Boot::Disk(name), Pace::Host)?;
    let mut last = None;
    machine.wait_for("GRUB's menu", |m| {
        let screen = m.screen()?;
        let stable = screen.text().contains("GNU GRUB") && last.as_ref() == Some(&screen);
        last = Some(screen);
        thread::sleep(Duration::from_millis(500));
        Ok(stable)
    })?;
    let screen = machine.screen()?.mask_rows_with("GNU GRUB");
    let mut taken = bless;
    settle(&golden.join("grub-menu.txt"), &screen, &mut taken, name)?;
    // The menu's second entry is GRUB's own way to power off by ACPI.
    machine.monitor_line("sendkey down")?;
    thread::sleep(Duration::from_millis(500));
    machine.monitor_line("sendkey ret")?;
    machine.wait_for_end()?;
    eprintln!("guests: {name}: menu as in the golden grid, powered off from it");
    Ok(())
}

/// Compares `screen` with the golden file, or writes it when `taken` asks for that (once).
fn settle(path: &Path, screen: &Screen, taken: &mut bool, name: &str) -> Result<()> {
    if std::mem::take(taken) {
        let note = format!(
            "Text screen of {name} under {PROGRAM} {}, taken by `cargo xtask guests --check-qemu --bless`.",
            MACHINE.join(" ")
        );
        return fs::write(path, screen.to_golden(&note)).at(path);
    }
    let text = fs::read_to_string(path).at(path)?;
    match Screen::from_golden(&text)?.difference(screen) {
        None => Ok(()),
        Some(what) => {
            Err(Error::Check(format!("{name}: the screen differs from {}: {what}", path.display())))
        }
    }
}

/// A running QEMU.
struct Machine {
    name: String,
    child: Child,
    serial: PathBuf,
    memory: PathBuf,
    monitor: BufReader<UnixStream>,
    started: Instant,
}

impl Machine {
    fn start(out: &Path, name: &str, boot: &Boot, pace: Pace) -> Result<Self> {
        let work = out.join("qemu");
        fs::create_dir_all(&work).at(&work)?;
        let stem = name.replace(' ', "-");
        let serial = work.join(format!("{stem}.serial.txt"));
        let memory = work.join(format!("{stem}.memory"));
        // A socket's path may hold 107 bytes at most, so it does not go below a long checkout path.
        let socket = std::env::temp_dir().join(format!("slotone-guests-{}.sock", std::process::id()));
        for old in [&serial, &socket] {
            if old.exists() {
                fs::remove_file(old).at(old)?;
            }
        }
        let mut command = Command::new(PROGRAM);
        command.args(MACHINE).args(OPTIONS).args(["-vga", "std", "-serial"]);
        command.arg(format!("file:{}", serial.display()));
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", socket.display()));
        if pace == Pace::Instructions {
            command.args(["-icount", "shift=1", "-rtc", "clock=vm"]);
        }
        let disk =
            |file: &str| format!("file={},format=vpc,if=ide,index=0,snapshot=on", out.join(file).display());
        let cd = |file: &str| {
            format!("file={},format=raw,if=ide,index=2,media=cdrom,readonly=on", out.join(file).display())
        };
        match boot {
            Boot::Disk(file) => command.arg("-drive").arg(disk(file)),
            Boot::Cd(file) => command.arg("-drive").arg(cd(file)).args(["-boot", "d"]),
            Boot::Direct(kernel, initrd, list) => command
                .arg("-kernel")
                .arg(out.join(kernel))
                .arg("-initrd")
                .arg(out.join(initrd))
                .args(["-append", &format!("{APPEND} gt={list}")])
                .args(["-drive", &disk("debian.vhd"), "-drive", &cd("debian.iso")]),
        };
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().at(PROGRAM)?;
        let started = Instant::now();
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(source) if started.elapsed() > Duration::from_secs(20) || ended(&mut child) => {
                    let _ = child.kill();
                    let said =
                        child.wait_with_output().map(|o| String::from_utf8_lossy(&o.stderr).into_owned());
                    return Err(Error::Program {
                        program: PROGRAM.into(),
                        detail: said
                            .ok()
                            .filter(|s| !s.is_empty())
                            .unwrap_or_else(|| source.to_string())
                            .trim()
                            .to_owned(),
                    });
                }
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        };
        let _ = fs::remove_file(&socket);
        let mut machine =
            Self { name: name.to_owned(), child, serial, memory, monitor: BufReader::new(stream), started };
        machine.answer()?;
        machine.order("qmp_capabilities", &serde_json::json!({}))?;
        Ok(machine)
    }

    /// What has come out of the serial port.
    fn serial(&self) -> Result<String> {
        let bytes = fs::read(&self.serial).at(&self.serial)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The last line that tells what is wrong.
    fn complaint(&self) -> String {
        let text = self.serial().unwrap_or_default();
        let bad: Vec<&str> =
            text.lines().filter(|line| line.starts_with("CHECK ") && line.contains(" FAIL")).collect();
        let what = if bad.is_empty() {
            text.lines().last().unwrap_or("no output").to_owned()
        } else {
            bad.join("; ")
        };
        format!("{what} (all of it: {})", self.serial.display())
    }

    fn wait_for(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
        loop {
            if self.serial.exists() && done(self)? {
                return Ok(());
            }
            if self.started.elapsed() > LIMIT || ended(&mut self.child) {
                return Err(Error::Check(format!(
                    "{}: {what} did not come: {}",
                    self.name,
                    self.complaint()
                )));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the guest has powered the machine off.
    fn wait_for_end(&mut self) -> Result<()> {
        let from = Instant::now();
        while !ended(&mut self.child) {
            if from.elapsed() > Duration::from_secs(60) {
                return Err(Error::Check(format!("{}: the guest does not power off", self.name)));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The text screen as the adapter shows it, with the machine stopped meanwhile.
    fn screen(&mut self) -> Result<Screen> {
        self.order("stop", &serde_json::json!({}))?;
        let path = self.memory.clone();
        self.order("pmemsave", &serde_json::json!({"val": 0xb8000, "size": 0x8000, "filename": path}))?;
        let mut crtc = [0u8; 0x10];
        for register in 0x0a..0x10u8 {
            self.monitor_line(&format!("o /b 0x3d4 {register}"))?;
            // "portb[0x3d5] = 0xNN"
            let line = self.monitor_line("i /b 0x3d5")?;
            let digits = line.rsplit("0x").next().unwrap_or_default().trim();
            crtc[usize::from(register)] = u8::from_str_radix(digits, 16)
                .map_err(|_| Error::Input(format!("QEMU's monitor says {line:?} for a port")))?;
        }
        self.order("cont", &serde_json::json!({}))?;
        let memory = fs::read(&path).at(&path)?;
        let _ = fs::remove_file(&path);
        Screen::from_memory(&memory, &crtc)
    }

    fn monitor_line(&mut self, line: &str) -> Result<String> {
        let answer = self.order("human-monitor-command", &serde_json::json!({"command-line": line}))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    fn order(&mut self, verb: &str, arguments: &serde_json::Value) -> Result<serde_json::Value> {
        let text = serde_json::json!({"execute": verb, "arguments": arguments}).to_string();
        self.monitor.get_mut().write_all(format!("{text}\n").as_bytes()).at(PROGRAM)?;
        loop {
            let answer = self.answer()?;
            if let Some(error) = answer.get("error") {
                return Err(Error::Program { program: PROGRAM.into(), detail: format!("{verb}: {error}") });
            }
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
        }
    }

    fn answer(&mut self) -> Result<serde_json::Value> {
        let mut line = String::new();
        self.monitor.read_line(&mut line).at(PROGRAM)?;
        serde_json::from_str(&line).map_err(|_| Error::Program {
            program: PROGRAM.into(),
            detail: format!("{}: the monitor closed: {}", self.name, self.complaint()),
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ended(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_counts_once_its_line_is_whole() {
        assert_eq!(verdict("CHECK a ok\r\nGUEST-TESTS-PA"), None);
        assert_eq!(verdict("CHECK a ok\r\nGUEST-TESTS-PASS\r\n"), Some(VERDICT));
        assert_eq!(verdict("GUEST-TESTS-FAIL 2\r\n"), Some("GUEST-TESTS-FAIL 2"));
    }
}
