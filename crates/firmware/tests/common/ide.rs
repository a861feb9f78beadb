//! An IDE channel with delays: enough of ATA and ATAPI for a BIOS.

use std::collections::BTreeMap;

/// How long a command takes, in nanoseconds.
const DELAY: u64 = 150_000;

/// A sparse disk: a sector that was not written begins with its number.
pub(crate) struct Disk {
    sectors: usize,
    written: BTreeMap<usize, [u8; 512]>,
    /// SET MULTIPLE MODE is refused.
    pub(crate) no_multiple: bool,
    /// Sectors that cannot be read.
    pub(crate) bad: Vec<u32>,
    multiple: u8,
}

impl Disk {
    pub(crate) fn new(sectors: usize) -> Self {
        Self { sectors, written: BTreeMap::new(), no_multiple: false, bad: Vec::new(), multiple: 0 }
    }

    pub(crate) fn sector(&self, number: usize) -> [u8; 512] {
        self.written.get(&number).copied().unwrap_or_else(|| {
            let mut sector = [0; 512];
            sector[..8].copy_from_slice(&(number as u64).to_le_bytes());
            sector
        })
    }

    pub(crate) fn write(&mut self, number: usize, sector: [u8; 512]) {
        self.written.insert(number, sector);
    }

    /// Undoes SET MULTIPLE MODE.
    pub(crate) fn forget_multiple(&mut self) {
        self.multiple = 0;
    }

    fn identify(&self) -> Vec<u8> {
        let mut words = [0u16; 256];
        let sectors = self.sectors as u32;
        let (heads, per_track) = (16u32, 63u32);
        words[1] = (sectors / (heads * per_track)).min(16383) as u16;
        words[3] = heads as u16;
        words[6] = per_track as u16;
        words[47] = if self.no_multiple { 0 } else { 0x8010 };
        words[49] = 1 << 9;
        words[60] = sectors as u16;
        words[61] = (sectors >> 16) as u16;
        model(&mut words, "Virtual HD");
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

#[derive(Default)]
pub(crate) struct Atapi {
    /// Sectors of 2048 bytes; none is "no medium".
    pub(crate) disc: Option<Vec<u8>>,
    /// Unit attentions to report first.
    pub(crate) attentions: u8,
}

fn model(words: &mut [u16; 256], name: &str) {
    for (i, pair) in format!("{name:<40}").as_bytes().chunks(2).enumerate() {
        words[27 + i] = u16::from(pair[0]) << 8 | u16::from(pair[1]);
    }
}

#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    /// Data for the host; the rest comes after another delay.
    In {
        rest: Vec<u8>,
        block: usize,
    },
    /// Data from the host: where it goes.
    Out {
        lba: usize,
        left: usize,
        block: usize,
    },
    Packet,
}

#[derive(Default)]
pub(crate) struct Ide {
    pub(crate) disk: Option<Disk>,
    pub(crate) cd: Option<Atapi>,
    registers: [u8; 8],
    status: u8,
    error: u8,
    ready_at: u64,
    phase: Phase,
    buffer: Vec<u8>,
    at: usize,
    /// Never leaves BSY.
    pub(crate) dead: bool,
}

impl Ide {
    pub(crate) fn with_disk(disk: Disk) -> Self {
        Self { disk: Some(disk), ..Self::default() }
    }

    pub(crate) fn with_cd(cd: Atapi) -> Self {
        Self { cd: Some(cd), ..Self::default() }
    }

    fn present(&self) -> bool {
        (self.disk.is_some() || self.cd.is_some()) && self.registers[6] & 0x10 == 0
    }

    fn status(&self, now: u64) -> u8 {
        if self.disk.is_none() && self.cd.is_none() {
            0x7F
        } else if !self.present() {
            0
        } else if self.dead || now < self.ready_at {
            0x80
        } else {
            self.status
        }
    }

    pub(crate) fn read(&mut self, now: u64, register: u16, data: &mut [u8]) {
        data.fill(0xFF);
        if self.disk.is_none() && self.cd.is_none() {
            data[0] = 0x7F;
            return;
        }
        match register & 0x20F {
            0 => {
                for byte in data.iter_mut() {
                    *byte = self.buffer.get(self.at).copied().unwrap_or(0xFF);
                    self.at += 1;
                }
                if self.at >= self.buffer.len() && self.status & 8 != 0 {
                    self.next_in(now);
                }
            }
            1 => data[0] = self.error,
            0x206 | 7 => data[0] = self.status(now),
            n => data[0] = self.registers[usize::from(n & 7)],
        }
    }

    pub(crate) fn write(&mut self, now: u64, register: u16, data: &[u8]) {
        match register & 0x20F {
            0x206 => {
                if data[0] & 4 != 0 {
                    self.registers = [0, 1, 1, 1, 0, 0, 0, 0];
                    self.status = 0x50;
                    if self.cd.is_some() {
                        (self.registers[4], self.registers[5]) = (0x14, 0xEB);
                        self.status = 0;
                    }
                    self.phase = Phase::Idle;
                    self.ready_at = now + DELAY;
                }
            }
            0 => self.data_out(now, data),
            7 if self.present() => self.command(now, data[0]),
            7 => {}
            n => self.registers[usize::from(n & 7)] = data[0],
        }
    }

    fn fail(&mut self, now: u64, error: u8) {
        self.error = error;
        self.status = 0x51;
        self.phase = Phase::Idle;
        self.ready_at = now + DELAY;
    }

    fn send(&mut self, now: u64, data: Vec<u8>, block: usize) {
        self.phase = Phase::In { rest: data, block };
        self.status = 0x50;
        self.next_in(now);
    }

    fn next_in(&mut self, now: u64) {
        self.ready_at = now + DELAY;
        self.buffer.clear();
        self.at = 0;
        if let Phase::In { rest, block } = &mut self.phase {
            let n = rest.len().min(*block);
            self.buffer = rest.drain(..n).collect();
        }
        if self.buffer.is_empty() {
            self.status = 0x50;
            self.phase = Phase::Idle;
        } else {
            self.status = 0x58;
            let [low, high] = (self.buffer.len() as u16).to_le_bytes();
            if self.cd.is_some() {
                (self.registers[4], self.registers[5]) = (low, high);
            }
        }
    }

    fn lba(&self) -> usize {
        let r = &self.registers;
        usize::from(r[3]) | usize::from(r[4]) << 8 | usize::from(r[5]) << 16 | usize::from(r[6] & 15) << 24
    }

    fn command(&mut self, now: u64, command: u8) {
        let (lba, count) = (
            self.lba(),
            match self.registers[2] {
                0 => 256,
                n => usize::from(n),
            },
        );
        if let Some(cd) = &self.cd {
            match command {
                0xA1 => {
                    let mut words = [0u16; 256];
                    words[0] = 0x8580;
                    model(&mut words, "Virtual CD");
                    let data = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                    self.send(now, data, 512);
                }
                0xA0 => {
                    let _ = cd;
                    self.phase = Phase::Packet;
                    self.buffer.clear();
                    self.status = 0x58;
                    self.ready_at = now + DELAY;
                }
                _ => self.fail(now, 4),
            }
            return;
        }
        let disk = self.disk.as_mut().expect("a disk");
        let multiple = usize::from(disk.multiple);
        match command {
            0xEC => {
                let data = disk.identify();
                self.send(now, data, 512);
            }
            0xC6 => {
                disk.multiple = count as u8;
                self.status = 0x50;
                self.ready_at = now + DELAY;
            }
            0x20 | 0xC4 | 0x40 => {
                if command == 0xC4 && multiple == 0 {
                    return self.fail(now, 4);
                }
                if lba + count > disk.sectors {
                    return self.fail(now, 0x10);
                }
                if disk.bad.iter().any(|bad| (lba..lba + count).contains(&(*bad as usize))) {
                    return self.fail(now, 0x40);
                }
                if command == 0x40 {
                    self.status = 0x50;
                    self.ready_at = now + DELAY;
                    return;
                }
                let data = (lba..lba + count).flat_map(|number| disk.sector(number)).collect();
                self.send(now, data, if command == 0xC4 { multiple * 512 } else { 512 });
            }
            0x30 | 0xC5 => {
                if command == 0xC5 && multiple == 0 {
                    return self.fail(now, 4);
                }
                let block = if command == 0xC5 { multiple * 512 } else { 512 };
                self.phase = Phase::Out { lba, left: count * 512, block };
                self.buffer.clear();
                self.status = 0x58;
                self.ready_at = now + DELAY;
            }
            _ => self.fail(now, 4),
        }
    }

    fn data_out(&mut self, now: u64, data: &[u8]) {
        self.buffer.extend_from_slice(data);
        match &mut self.phase {
            Phase::Out { lba, left, block } => {
                let want = (*left).min(*block);
                if self.buffer.len() >= want {
                    let disk = self.disk.as_mut().expect("a disk");
                    if disk.bad.iter().any(|bad| (*lba..*lba + want / 512).contains(&(*bad as usize))) {
                        return self.fail(now, 4);
                    }
                    for (i, sector) in self.buffer.chunks_exact(512).enumerate() {
                        disk.write(*lba + i, sector.try_into().unwrap());
                    }
                    *lba += want / 512;
                    *left -= want;
                    self.buffer.clear();
                    self.ready_at = now + DELAY;
                    if *left == 0 {
                        self.status = 0x50;
                        self.phase = Phase::Idle;
                    }
                }
            }
            Phase::Packet if self.buffer.len() >= 12 => {
                let packet = std::mem::take(&mut self.buffer);
                let cd = self.cd.as_mut().expect("a drive");
                if cd.attentions > 0 {
                    cd.attentions -= 1;
                    return self.fail(now, 0x60);
                }
                let Some(disc) = &cd.disc else { return self.fail(now, 0x20) };
                let lba = u32::from_be_bytes([packet[2], packet[3], packet[4], packet[5]]) as usize;
                let count = usize::from(u16::from_be_bytes([packet[7], packet[8]]));
                if packet[0] != 0x28 || (lba + count) * 2048 > disc.len() {
                    return self.fail(now, 0x50);
                }
                let data = disc[lba * 2048..(lba + count) * 2048].to_vec();
                // Odd pieces, as a drive may send them.
                self.send(now, data, 3000);
            }
            _ => {}
        }
    }
}
