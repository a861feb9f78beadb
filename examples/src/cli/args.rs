//! The command line of `virtual-server-2005`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Parser, ValueEnum};
use slotone_host::BackendSpec;
use slotone_vnet::dhcp::DhcpSpec;
use slotone_vnet::spec::NicSpec;

use super::failure::Failure;
use super::network::{FilesArg, PcapArg};

/// The PC that Microsoft Virtual Server 2005 emulated. Without arguments it boots its built-in demonstration.
#[derive(Debug, Parser)]
#[command(name = "virtual-server-2005", version, max_term_width = 110, after_help = super::fault::HELP)]
pub(crate) struct Args {
    /// Machine from a TOML file or a Virtual PC/Server .vmc; flags override
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Memory in MiB, 4 to 3686
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    pub(crate) memory: u64,
    /// The processor: software, KVM, or KVM where it works
    #[arg(long, value_enum, default_value_t = CpuKind::Soft)]
    pub(crate) cpu: CpuKind,
    /// Processor model: 486, pentium, pentium2, pentium3 (and host, vs2005, nt4-safe with KVM)
    #[arg(long, value_name = "NAME", default_value = "pentium2")]
    pub(crate) cpu_model: String,
    /// Virtual time follows the host's clock, or executed instructions (deterministic)
    #[arg(long, value_enum, default_value_t = ClockArg::Real)]
    pub(crate) clock: ClockArg,
    /// Start of the real-time clock: YYYY-MM-DDTHH:MM:SS (now; with --clock counted 2005-09-20T00:00:00)
    #[arg(long, value_name = "TIME")]
    pub(crate) rtc: Option<RtcTime>,
    /// Source of UUIDs, MACs and serial numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// IDE disk, primary master: .vhd of any kind, raw image or host block device
    #[arg(long, value_name = "PATH[,readonly]")]
    pub(crate) hda: Option<DiskArg>,
    /// IDE disk, primary slave
    #[arg(long, value_name = "PATH[,readonly]")]
    pub(crate) hdb: Option<DiskArg>,
    /// IDE disk, secondary master
    #[arg(long, value_name = "PATH[,readonly]")]
    pub(crate) hdc: Option<DiskArg>,
    /// IDE disk, secondary slave
    #[arg(long, value_name = "PATH[,readonly]")]
    pub(crate) hdd: Option<DiskArg>,
    /// ATAPI drive with an ISO or a host drive; may repeat
    #[arg(long, value_name = "PATH[,slot=hdc]")]
    pub(crate) cdrom: Vec<CdArg>,
    /// SCSI device: adapter 0-3, id 0-6; may repeat. block=4096 gives a disk logical blocks of that many bytes: with those Linux's aic7xxx
    /// works disks of 2 TiB and more, but no BIOS boots from them
    #[arg(long, value_name = "ADAPTER:ID=PATH[,cdrom][,readonly][,block=BYTES]")]
    pub(crate) scsi: Vec<ScsiArg>,
    /// First floppy drive: image or host drive
    #[arg(long, value_name = "PATH")]
    pub(crate) fda: Option<PathBuf>,
    /// Second floppy drive
    #[arg(long, value_name = "PATH")]
    pub(crate) fdb: Option<PathBuf>,
    /// Network card: none, internal[=NAME], external=IFACE, tap=IFACE, socket=PATH, nat (the host's connections, without
    /// privileges; with forward=tcp:HOST:GUEST, host=on, dns=ADDRESS, network=CIDR); up to 4
    #[arg(long, value_name = "MODE[,mac=..]")]
    pub(crate) nic: Vec<NicSpec>,
    /// DHCP server of an internal network (on unless NETWORK=off)
    #[arg(long, value_name = "NETWORK=CIDR[,key=value..]")]
    pub(crate) dhcp: Vec<DhcpSpec>,
    /// Serves a folder's files by HTTP and TFTP on an internal network, which is this process's own then
    #[arg(long, value_name = "NETWORK=FOLDER")]
    pub(crate) files: Vec<FilesArg>,
    /// Serial port: none, stdio, file=PATH, unix=PATH, pty, host=DEVICE; once or twice
    #[arg(long, value_name = "BACKEND")]
    pub(crate) serial: Vec<BackendSpec>,
    /// Parallel port
    #[arg(long, value_name = "BACKEND")]
    pub(crate) parallel: Option<BackendSpec>,
    /// Boot order, from cd, floppy, hdd, scsi, net. All CD drives are tried, and the first disk of hdd (IDE, if scsi is listed too) and scsi
    #[arg(long, value_name = "ORDER", value_delimiter = ',')]
    pub(crate) boot: Vec<BootDevice>,
    /// System BIOS image in place of ours
    #[arg(long, value_name = "ROM")]
    pub(crate) bios: Option<PathBuf>,
    /// Video BIOS image in place of ours
    #[arg(long, value_name = "ROM")]
    pub(crate) video_bios: Option<PathBuf>,
    /// Another option ROM
    #[arg(long, value_name = "ROM")]
    pub(crate) option_rom: Option<PathBuf>,
    /// Device ID of the host bridge
    #[arg(long, value_name = "7190|7192|1237")]
    pub(crate) chipset_id: Option<String>,
    /// Break something on purpose: a device, or DEVICE=KIND (see below); may repeat
    #[arg(long, value_name = "DEVICE[=KIND]")]
    pub(crate) fault: Vec<FaultArg>,
    /// What a triple fault does
    #[arg(long, value_enum)]
    pub(crate) on_triple_fault: Option<TripleFaultArg>,
    /// JSON-lines control socket
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
    /// Direct Linux boot: bzImage or ELF vmlinux
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    /// Initial RAM disk of --kernel
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub(crate) initrd: Option<PathBuf>,
    /// Command line of --kernel
    #[arg(long, value_name = "STRING", requires = "kernel")]
    pub(crate) append: Option<String>,
    /// Undo session over all image disks, and what to do with it at the end
    #[arg(long, value_enum)]
    pub(crate) undo: Option<UndoArg>,
    /// Where the screen goes: none, terminal, vnc=ADDR, web=ADDR (terminal when interactive, else none)
    #[arg(long, value_name = "WHERE")]
    pub(crate) screen: Option<ScreenArg>,
    /// PNG of the screen at that virtual time, or at exit (NAME.txt: the cells of a text screen); may repeat
    #[arg(long, value_name = "PATH[@SECONDS]")]
    pub(crate) screenshot: Vec<Timed>,
    /// Types on the keyboard ({enter}, {ctrl-alt-del}, {f1} ...); may repeat
    #[arg(long = "type", value_name = "TEXT[@SECONDS]")]
    pub(crate) type_text: Vec<Timed>,
    /// Stop after that virtual time, exit 124
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) exit_after: Option<f64>,
    /// Exit 0 as soon as the text has come out of serial port 1; 3 if the guest ends before
    #[arg(long, value_name = "TEXT", value_parser = not_empty)]
    pub(crate) expect: Option<String>,
    /// Save the machine at the end, or at --save-at
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Start from a saved state
    #[arg(long, value_name = "FILE")]
    pub(crate) restore: Option<PathBuf>,
    /// When to save
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) save_at: Option<f64>,
    /// Log of every outside event
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Run a log again
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,
    /// Capture a network card's traffic
    #[arg(long, value_name = "NIC=FILE")]
    pub(crate) pcap: Vec<PcapArg>,
    /// Trace devices' registers
    #[arg(long, value_name = "DEVICE[,DEVICE]")]
    pub(crate) trace: Vec<String>,
    /// Wait for gdb
    #[arg(long, value_name = "ADDR")]
    pub(crate) gdb: Option<String>,
    /// Print instructions, accesses, bytes and times as JSON at the end; with --clock counted also a hash of the machine with all its disks
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) stats: bool,
}

/// `--cpu`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CpuKind {
    Soft,
    Kvm,
    Auto,
}

/// `--clock`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClockArg {
    Real,
    Counted,
}

/// `--undo`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UndoArg {
    Keep,
    Commit,
    Discard,
}

/// `--on-triple-fault`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TripleFaultArg {
    Reset,
    Stop,
}

/// One entry of `--boot`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BootDevice {
    Cd,
    Floppy,
    Hdd,
    Scsi,
    Net,
}

impl BootDevice {
    /// Whether this build can boot from it.
    pub(crate) fn is_built(self) -> bool {
        !matches!(self, Self::Floppy | Self::Net)
    }
}

/// `--screen`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ScreenArg {
    None,
    Terminal,
    /// VNC or web: an address
    Remote,
}

impl FromStr for ScreenArg {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "none" => Ok(Self::None),
            "terminal" => Ok(Self::Terminal),
            _ if s.starts_with("vnc=") || s.starts_with("web=") => Ok(Self::Remote),
            _ => Err("expected none, terminal, vnc=ADDR or web=ADDR".into()),
        }
    }
}

/// `PATH[,readonly]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskArg {
    pub(crate) path: PathBuf,
    pub(crate) read_only: bool,
}

impl FromStr for DiskArg {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (path, read_only) = match s.strip_suffix(",readonly") {
            Some(path) => (path, true),
            None => (s, false),
        };
        if path.is_empty() {
            return Err("expected PATH or PATH,readonly".into());
        }
        Ok(Self { path: path.into(), read_only })
    }
}

/// `PATH[,slot=hdc]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CdArg {
    pub(crate) path: PathBuf,
    /// IDE position 0 to 3.
    pub(crate) slot: Option<usize>,
}

impl FromStr for CdArg {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (path, slot) = match s.rsplit_once(",slot=") {
            None => (s, None),
            Some((path, name)) => {
                let slot = ["hda", "hdb", "hdc", "hdd"].iter().position(|n| *n == name);
                (path, Some(slot.ok_or("a slot is hda, hdb, hdc or hdd")?))
            }
        };
        if path.is_empty() {
            return Err("expected PATH or PATH,slot=hdc".into());
        }
        Ok(Self { path: path.into(), slot })
    }
}

/// `ADAPTER:ID=PATH[,cdrom][,readonly][,block=4096]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScsiArg {
    /// 0 to 3.
    pub(crate) adapter: usize,
    /// 0 to 6.
    pub(crate) id: usize,
    pub(crate) path: PathBuf,
    pub(crate) cdrom: bool,
    pub(crate) read_only: bool,
    /// Bytes of a logical block of a disk.
    pub(crate) block: u32,
}

impl FromStr for ScsiArg {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let place = |text: &str| -> Option<(usize, usize)> {
            let (adapter, id) = text.split_once(':')?;
            let (adapter, id) = (adapter.parse().ok()?, id.parse().ok()?);
            (adapter < 4 && id < 7).then_some((adapter, id))
        };
        let (at, mut path) = s.split_once('=').ok_or("expected ADAPTER:ID=PATH")?;
        let (adapter, id) = place(at).ok_or("adapters are 0 to 3 and IDs 0 to 6, such as 0:1=disk.vhd")?;
        let (mut cdrom, mut read_only, mut block) = (false, false, None);
        loop {
            if let Some(rest) = path.strip_suffix(",cdrom") {
                (path, cdrom) = (rest, true);
            } else if let Some(rest) = path.strip_suffix(",readonly") {
                (path, read_only) = (rest, true);
            } else if let Some((rest, bytes)) = path.rsplit_once(",block=") {
                let bytes = bytes.parse().ok().filter(|bytes| [512, 1024, 2048, 4096].contains(bytes));
                (path, block) = (rest, Some(bytes.ok_or("block= takes 512, 1024, 2048 or 4096")?));
            } else {
                break;
            }
        }
        if path.is_empty() {
            return Err("expected ADAPTER:ID=PATH[,cdrom][,readonly][,block=BYTES]".into());
        }
        if cdrom && block.is_some() {
            return Err("block= is for disks; the blocks of a CD have 2048 bytes".into());
        }
        Ok(Self { adapter, id, path: path.into(), cdrom, read_only, block: block.unwrap_or(512) })
    }
}

/// `DEVICE[=KIND]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FaultArg {
    pub(crate) device: String,
    pub(crate) kind: Option<String>,
}

impl FromStr for FaultArg {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (device, kind) = match s.split_once('=') {
            Some((d, k)) => (d, Some(k.to_string())),
            None => (s, None),
        };
        if device.is_empty() {
            return Err("expected DEVICE or DEVICE=KIND".into());
        }
        Ok(Self { device: device.into(), kind })
    }
}

/// `WHAT[@SECONDS]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timed {
    pub(crate) what: String,
    pub(crate) at: Option<f64>,
}

impl FromStr for Timed {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        // An @ that no number follows belongs to the text.
        let timed = s.rsplit_once('@').and_then(|(what, at)| Some((what, seconds(at).ok()?)));
        let (what, at) = timed.map_or((s, None), |(what, at)| (what, Some(at)));
        if what.is_empty() {
            return Err("nothing stands before the time".into());
        }
        Ok(Self { what: what.to_string(), at })
    }
}

fn seconds(s: &str) -> Result<f64, String> {
    match s.parse::<f64>() {
        Ok(v) if v.is_finite() && (0.0..1e9).contains(&v) => Ok(v),
        _ => Err("expected a number of seconds".into()),
    }
}

fn not_empty(s: &str) -> Result<String, String> {
    if s.is_empty() { Err("expected a text".into()) } else { Ok(s.into()) }
}

/// A date and time of the real-time clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RtcTime {
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
}

impl RtcTime {
    /// The date of the product's own BIOS: where a deterministic run starts unless told otherwise.
    pub(crate) const RELEASE: Self = Self { year: 2005, month: 9, day: 20, hour: 0, minute: 0, second: 0 };

    /// The host's time, in UTC.
    pub(crate) fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = since.map_or(0, |d| d.as_secs());
        // Days to a civil date: counted from 1 March of year 0, when leap days end a year.
        let days = (seconds / 86_400) as i64 + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let of_day = seconds % 86_400;
        Self {
            year: year as u16,
            month: month as u8,
            day: (of_year - (153 * shifted + 2) / 5 + 1) as u8,
            hour: (of_day / 3600) as u8,
            minute: (of_day / 60 % 60) as u8,
            second: (of_day % 60) as u8,
        }
    }
}

impl FromStr for RtcTime {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let bad = || "expected a time such as 2005-09-20T12:34:56".to_string();
        let (date, time) = s.split_once(['T', ' ']).unwrap_or((s, "00:00:00"));
        let fields = |text: &str, separator| -> Result<[u16; 3], String> {
            let parts: Result<Vec<u16>, _> = text.split(separator).map(str::parse).collect();
            parts.ok().and_then(|p| p.try_into().ok()).ok_or_else(bad)
        };
        let [year, month, day] = fields(date, '-')?;
        let [hour, minute, second] = fields(time, ':')?;
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u16::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return Err(bad()),
        };
        if !(1980..=2099).contains(&year)
            || !(1..=days).contains(&day)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return Err(bad());
        }
        let (month, day, hour) = (month as u8, day as u8, hour as u8);
        Ok(Self { year, month, day, hour, minute: minute as u8, second: second as u8 })
    }
}

impl Args {
    /// Documented flags that this build cannot serve yet, and sizes out of range.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let unbuilt = [
            ("--config", self.config.is_some()),
            ("--cpu kvm", self.cpu == CpuKind::Kvm),
            ("--fda", self.fda.is_some()),
            ("--fdb", self.fdb.is_some()),
            ("--parallel", self.parallel.as_ref().is_some_and(|p| *p != BackendSpec::None)),
            ("--option-rom", self.option_rom.is_some()),
            ("--control", self.control.is_some()),
            ("--screen vnc and web", self.screen == Some(ScreenArg::Remote)),
            ("--record", self.record.is_some()),
            ("--replay", self.replay.is_some()),
            ("--trace", !self.trace.is_empty()),
            ("--gdb", self.gdb.is_some()),
            (
                "--boot from nothing but these",
                !self.boot.is_empty() && !self.boot.iter().any(|d| d.is_built()),
            ),
        ];
        if let Some((flag, _)) = unbuilt.iter().find(|(_, used)| *used) {
            return Err(Failure::usage(format!("{flag}: not in this build; see STATUS.md for what is")));
        }
        if !(4..=3686).contains(&self.memory) {
            return Err(Failure::usage(format!(
                "--memory {}: the machine takes 4 to 3686 MiB; choose a size in that range",
                self.memory
            )));
        }
        if self.serial.len() > 2 {
            return Err(Failure::usage("--serial: the machine has two serial ports; give it at most twice"));
        }
        // A foreign BIOS neither enters kernels nor knows our order.
        for (flag, used) in [("--kernel", self.kernel.is_some()), ("--boot", !self.boot.is_empty())] {
            if used && self.bios.is_some() {
                return Err(Failure::usage(format!(
                    "{flag}: only our own BIOS can do that; leave --bios or {flag} out"
                )));
            }
        }
        if self.save_at.is_some() && self.save.is_none() {
            return Err(Failure::usage("--save-at: say where to save with --save FILE"));
        }
        Ok(())
    }

    /// What is taken but has less effect than it may look: a line each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let passed_over = self.boot.iter().filter(|device| !device.is_built()).map(|device| {
            let name = format!("{device:?}").to_lowercase();
            format!("--boot: {name} is not in this build and passed over")
        });
        let thrown_away = (self.save.is_some() && self.undo == Some(UndoArg::Discard)).then(|| {
            "--save with --undo discard: the state goes with the disks as they were before this run; what the guest writes to them is not in it".to_owned()
        });
        passed_over.chain(thrown_away).collect()
    }

    /// Whether nothing was given that a guest could boot from: then the demonstration runs.
    pub(crate) fn is_demonstration(&self) -> bool {
        self.hda.is_none()
            && self.hdb.is_none()
            && self.hdc.is_none()
            && self.hdd.is_none()
            && self.cdrom.is_empty()
            && self.scsi.is_empty()
            && self.nic.is_empty()
            && self.dhcp.is_empty()
            && self.files.is_empty()
            && self.pcap.is_empty()
            && self.kernel.is_none()
            && self.bios.is_none()
            && self.restore.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!("a,b.vhd,readonly".parse::<DiskArg>().unwrap().path, PathBuf::from("a,b.vhd"));
        assert_eq!("x.iso,slot=hdd".parse::<CdArg>().unwrap().slot, Some(3));
        assert!("x.iso,slot=hdz".parse::<CdArg>().is_err());
        let disk: ScsiArg = "3:6=a,b.img,block=4096,readonly".parse().unwrap();
        assert_eq!((disk.path, disk.block, disk.read_only), (PathBuf::from("a,b.img"), 4096, true));
        assert_eq!("0:0=a.img".parse::<ScsiArg>().unwrap().block, 512);
        let timed: Timed = "a@b@1.5".parse().unwrap();
        assert_eq!((timed.what.as_str(), timed.at), ("a@b", Some(1.5)));
        assert_eq!("a@b".parse::<Timed>().unwrap().at, None);
        assert!("2005-02-29".parse::<RtcTime>().is_err());
        assert!("2004-02-29T23:59:59".parse::<RtcTime>().is_ok());
    }

    #[test]
    fn unbuilt_flags_say_so() {
        let args = Args::try_parse_from(["vs", "--fda", "x.img"]).unwrap();
        let failure = args.check().unwrap_err();
        assert_eq!(failure.code, 2);
        assert!(failure.message.contains("not in this build"));
    }
}
