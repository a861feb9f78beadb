//! What the program on the boot disk reported, device by device.

/// What the demonstration works, in the program's order: the processor, the memory, the BIOS, and everything on the board.
pub(super) const DEVICES: [&str; 25] = [
    "cpu",
    "memory",
    "bios",
    "host-bridge",
    "isa-bridge",
    "pic",
    "pit",
    "dma",
    "rtc",
    "kbc",
    "uart0",
    "uart1",
    "superio",
    "pm",
    "ide",
    "hda",
    "hdb",
    "hdc",
    "nic0",
    "nic1",
    "scsi0",
    "scsi1",
    "scsi2",
    "scsi3",
    "vga",
];

/// What the machine is to have and this build lacks.
pub(super) const NOT_BUILT: [&str; 6] =
    ["floppy", "parallel port", "PS/2 mouse", "SMBus memories", "S3 engine", "KVM CPU"];

/// The program's last line begins with this, on the serial port.
const COMPLETE: &str = "devices passed";

/// What is known about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The program reported it good.
    Passed,
    /// And why.
    Failed(String),
    /// Its test began and did not end.
    Begun,
    /// Its test did not begin.
    NotTested,
}

impl Verdict {
    pub(super) fn is_pass(&self) -> bool {
        *self == Self::Passed
    }
}

/// Verdicts on all of [`DEVICES`].
#[derive(Debug)]
pub(super) struct Report {
    verdicts: Vec<Verdict>,
    complete: bool,
}

/// The device and the verdict that a line tells: `[ OK ] name   details`.
fn parse(line: &str) -> Option<(usize, Verdict)> {
    let line = line.trim();
    let (status, rest) = (line.get(..6)?, line.get(6..)?.trim());
    let (name, details) = rest.split_once(' ').unwrap_or((rest, ""));
    let device = DEVICES.iter().position(|d| *d == name)?;
    let verdict = match status {
        "[ OK ]" => Verdict::Passed,
        "[FAIL]" => Verdict::Failed(details.trim().to_string()),
        "[ .. ]" => Verdict::Begun,
        _ => return None,
    };
    Some((device, verdict))
}

/// A row of the screen, or its two halves if each tells of a device.
fn halves(row: &str) -> [&str; 2] {
    let middle = row.char_indices().nth(40).map_or(row.len(), |(at, _)| at);
    let (left, right) = row.split_at(middle);
    if parse(right).is_some() { [left, right] } else { [row, ""] }
}

impl Report {
    /// Reads the final screen and everything that came out of the serial port. Bad news from either counts, good news from one is
    /// enough: the other may be what is broken.
    pub(super) fn new(screen: &[String], transcript: &str) -> Self {
        let mut verdicts = vec![Verdict::NotTested; DEVICES.len()];
        let screen_lines = screen.iter().flat_map(|line| halves(line));
        for (device, new) in transcript.lines().chain(screen_lines).filter_map(parse) {
            let known = &mut verdicts[device];
            let keep = match (&*known, &new) {
                (Verdict::Failed(_), _) => true,
                (Verdict::Passed, new) => !matches!(new, Verdict::Failed(_)),
                _ => false,
            };
            if !keep {
                *known = new;
            }
        }
        let complete = transcript.contains(COMPLETE) || screen.iter().any(|l| l.contains(COMPLETE));
        Self { verdicts, complete }
    }

    /// The program came to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn verdict(&self, device: &str) -> &Verdict {
        let known = self.verdicts().find(|(name, _)| *name == device);
        known.map_or(&Verdict::NotTested, |(_, verdict)| verdict)
    }

    pub(super) fn verdicts(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        DEVICES.into_iter().zip(&self.verdicts)
    }

    /// What is known from elsewhere. The first reason stays.
    pub(super) fn fail(&mut self, device: &str, why: &str) {
        for (name, verdict) in DEVICES.iter().zip(&mut self.verdicts) {
            if *name == device && !matches!(verdict, Verdict::Failed(_)) {
                *verdict = Verdict::Failed(why.to_string());
            }
        }
    }

    /// The program did not come to its end: whose test began has failed, and if nobody else has, the processor, for it is the
    /// one that stopped.
    pub(super) fn stuck(&mut self, how: &str) {
        for verdict in &mut self.verdicts {
            if *verdict == Verdict::Begun {
                *verdict = Verdict::Failed(format!("its test did not end: {how}"));
            }
        }
        if !self.verdicts.iter().any(|v| matches!(v, Verdict::Failed(_))) {
            self.fail("cpu", &format!("the program did not run to its end: {how}"));
        }
    }

    pub(super) fn untested(&self) -> impl Iterator<Item = &'static str> {
        let open = |v: &Verdict| matches!(v, Verdict::NotTested | Verdict::Begun);
        self.verdicts().filter(move |(_, v)| open(v)).map(|(name, _)| name)
    }

    /// Every device passed.
    pub(super) fn is_good(&self) -> bool {
        self.complete && self.verdicts.iter().all(Verdict::is_pass)
    }

    /// The one line.
    pub(super) fn summary(&self) -> String {
        let passed = self.verdicts.iter().filter(|v| v.is_pass()).count();
        let failed = self.verdicts.iter().filter(|v| matches!(v, Verdict::Failed(_))).count();
        format!("{passed} devices passed, {failed} failed, {} not in this build", NOT_BUILT.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotone_vmm_core::vs2005::name;

    #[test]
    fn every_device_of_the_machine_takes_part() {
        assert!(name::ALL.iter().all(|name| DEVICES.contains(name)));
    }

    #[test]
    fn bad_news_from_either_side_counts_and_good_news_from_one_is_enough() {
        let serial = "[ .. ] cpu\r\n[ OK ] cpu          fast\r\n[ .. ] pit\r\n[ OK ] pit\r\n[ .. ] dma\r\n";
        let screen =
            ["  [FAIL] pit  slow (1)", " [ OK ] rtc", "[ ?? ] vga", "[ OK ] nobody"].map(String::from);
        let mut report = Report::new(&screen, serial);
        assert!(report.verdict("cpu").is_pass() && report.verdict("rtc").is_pass());
        assert_eq!(*report.verdict("pit"), Verdict::Failed("slow (1)".into()));
        assert_eq!(*report.verdict("vga"), Verdict::NotTested);
        assert!(!report.is_complete() && !report.is_good());
        report.stuck("halted");
        assert!(matches!(report.verdict("dma"), Verdict::Failed(why) if why.contains("halted")));
        assert_eq!(report.summary(), "2 devices passed, 2 failed, 6 not in this build");
        assert_eq!(report.untested().count(), DEVICES.len() - 4);
    }

    #[test]
    fn a_row_may_tell_of_two_devices() {
        let row = format!("{:40}{}", " [ OK ] scsi0 7 disks", " [FAIL] scsi1 number of disks (00000006)");
        let report = Report::new(&[row], "");
        assert!(report.verdict("scsi0").is_pass());
        assert_eq!(*report.verdict("scsi1"), Verdict::Failed("number of disks (00000006)".into()));
    }

    #[test]
    fn silence_is_not_good() {
        let mut report = Report::new(&[], "");
        assert!(!report.is_good());
        report.stuck("stuck");
        assert_eq!(report.summary(), "0 devices passed, 1 failed, 6 not in this build");
    }
}
