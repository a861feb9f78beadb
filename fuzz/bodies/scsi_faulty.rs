//! A disk with faults beside one without: any faults, any commands, and what shows when is worked out a second time.
//!
//! The input: how many faults there are (at most 4) and for each its kind, its first access and how often it shows (0: for ever); then steps, each a byte that
//! says what happens. A command takes a byte of initiator and unit, and its 16 bytes; if it asks for a parameter list a length and the list follow; if
//! it accesses the medium, how that ended.

use slotone_block::{MediumInfo, Outcome};
use slotone_bus::state::{StateReader, StateWriter};
use slotone_scsi::{
    Access, Command, Disk, DiskConfig, Fault, FaultKind, Faulty, MediumResult, Reply, Reset, Sense, SenseKey,
    Target,
};

use super::{Reader, text};

const KINDS: [FaultKind; 4] =
    [FaultKind::MediumError, FaultKind::Attention, FaultKind::Hang, FaultKind::Vanish];
const RESETS: [Reset; 3] = [Reset::PowerOn, Reset::Bus, Reset::Device];

fn saved(target: &dyn Target) -> Vec<u8> {
    let mut w = StateWriter::new();
    target.save(&mut w);
    w.into_bytes()
}

/// The two disks, and what is known of the faults.
struct Pair {
    config: DiskConfig,
    faults: Vec<Fault>,
    disk: Faulty,
    plain: Disk,
    accesses: u64,
    missed: Vec<u64>,
}

impl Pair {
    fn faulty(&self) -> Faulty {
        Faulty::new(Box::new(Disk::new(self.config.clone())), self.faults.clone())
    }

    /// The fault, if any, that keeps the disk from answering.
    fn gone(&self) -> Option<usize> {
        (0..self.faults.len()).find(|n| {
            let fault = self.faults[*n];
            let ignored = self.missed[*n];
            fault.kind == FaultKind::Vanish && self.accesses >= fault.access && ignored < fault.times
        })
    }

    /// The fault that the next access meets.
    fn next_access(&mut self) -> Option<FaultKind> {
        self.accesses += 1;
        let meets = |fault: &&Fault| {
            let last = fault.access.saturating_add(fault.times);
            fault.kind != FaultKind::Vanish && (fault.access..last).contains(&self.accesses)
        };
        self.faults.iter().find(meets).map(|fault| fault.kind)
    }

    /// What the plain disk said, as the other should say it.
    fn expect(&mut self, command: &Command, got: &Reply, plain: Reply) {
        let fault = if matches!(plain, Reply::Medium(_)) { self.next_access() } else { None };
        let (Some(fault), Reply::Medium(access)) = (fault, &plain) else {
            assert_eq!(*got, plain, "{command:02x?}");
            return;
        };
        match fault {
            FaultKind::Hang => assert_eq!(*got, Reply::Held),
            FaultKind::Attention => {
                let reset = Sense::new(SenseKey::UnitAttention, 0x29, 0);
                assert_eq!(*got, self.plain.refuse(command, reset));
            }
            _ => {
                let offset = match access {
                    Access::Read(r) | Access::Verify(r) | Access::Compare(r) => r.offset,
                    Access::Write { range, .. } | Access::WriteSame { range, .. } => range.offset,
                    Access::Discard(ranges) => ranges[0].offset,
                    _ => 0,
                };
                let failed = MediumResult::new(Outcome::MediumError, offset);
                assert_eq!(*got, self.plain.medium_done(command, access, failed), "{access:?}");
                assert!(matches!(got, Reply::Check(s) if s.key.code() == 3), "{got:?}");
            }
        }
    }

    fn command(&mut self, input: &mut Reader<'_>) {
        let who = input.u8();
        let command = Command { initiator: who & 0x0f, lun: who >> 6, cdb: input.array() };
        if let Some(n) = self.gone() {
            assert!(!self.disk.selected());
            self.missed[n] += 1;
            return;
        }
        assert!(self.disk.selected());
        let mut reply = self.disk.command(&command);
        let plain = self.plain.command(&command);
        self.expect(&command, &reply, plain);
        if let Reply::DataOut { len } = reply {
            let n = usize::from(input.u8()).min(len as usize);
            let list = input.take(n);
            reply = self.disk.data_out(&command, list);
            let plain = self.plain.data_out(&command, list);
            self.expect(&command, &reply, plain);
        }
        // The second access of a command is not counted.
        for step in 0.. {
            let Reply::Medium(access) = reply else { break };
            assert!(step < 2, "a command without an end: {command:02x?}");
            let result = match input.u8() {
                1 => MediumResult::new(Outcome::MediumError, 512),
                2 => MediumResult::new(Outcome::NotReady, 0),
                _ => MediumResult::Done,
            };
            reply = self.disk.medium_done(&command, &access, result);
            assert_eq!(reply, self.plain.medium_done(&command, &access, result));
        }
    }
}

/// See the module.
pub fn scsi_faulty(input: &[u8]) {
    let input = text::bytes(input);
    let mut input = Reader(&input);
    let faults: Vec<Fault> = (0..input.u8() % 5)
        .map(|_| {
            let kind = KINDS[usize::from(input.u8() % 4)];
            let access = u64::from(input.u8() % 32);
            let times = match input.u8() % 8 {
                0 => u64::MAX,
                n => u64::from(n),
            };
            Fault { kind, access, times }
        })
        .collect();
    let info = MediumInfo {
        capacity: 4096 * 512,
        physical_block: 512,
        read_only: false,
        geometry: None,
        discards: true,
        name: String::new(),
    };
    let config = DiskConfig::new(&info);
    let mut pair = Pair {
        disk: Faulty::new(Box::new(Disk::new(config.clone())), faults.clone()),
        plain: Disk::new(config.clone()),
        missed: vec![0; faults.len()],
        accesses: 0,
        config,
        faults,
    };
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        match input.u8() % 16 {
            0 => {
                let reset = RESETS[usize::from(input.u8() % 3)];
                pair.disk.reset(reset);
                pair.plain.reset(reset);
            }
            1 => {
                let mut twin = pair.faulty();
                twin.restore(&mut StateReader::new(&saved(&pair.disk))).expect("its own state");
                pair.disk = twin;
            }
            2 => {
                // A damaged state is refused and changes nothing, or is one that a disk can have.
                let before = saved(&pair.disk);
                let mut bytes = before.clone();
                let at = usize::from(input.u16()) % bytes.len();
                bytes[at] ^= input.u8();
                let mut twin = pair.faulty();
                if twin.restore(&mut StateReader::new(&bytes)).is_ok() {
                    twin.selected();
                    twin.command(&Command::new(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1]));
                    saved(&twin);
                } else {
                    assert_eq!(saved(&twin), saved(&pair.faulty()), "a refused state changes nothing");
                }
            }
            _ => pair.command(&mut input),
        }
        assert_eq!(pair.disk.accesses(), pair.accesses);
        assert_eq!(
            saved(pair.disk.inner()),
            saved(&pair.plain),
            "the disk behind the faults is as any other"
        );
    }
}
