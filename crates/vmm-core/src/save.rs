//! Saved states, and the hash that tells two runs apart.

use std::time::Duration;

use sha2::{Digest, Sha256};
use slotone_block::{BlockBackend, BlockError, SECTOR, read_exact};
use slotone_bus::VmInstant;
use slotone_bus::cpu::CpuState;
use slotone_bus::mem::{Memory, PAGE_SIZE};
use slotone_bus::state::{Encode, StateError, StateReader, StateWriter};
use thiserror::Error;

use crate::board::DeviceId;
use crate::clock::ClockMode;
use crate::machine::Machine;

const VERSION: u16 = 1;

/// A disk request has been carried out for longer than [`Machine::set_patience`] allows: its medium hangs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{medium}, in drive {drive} of {controller}, has not answered for {patience:?}; see what its storage on the host waits for, and try again"
)]
#[non_exhaustive]
pub struct DriveBusy {
    /// Name of the controller.
    pub controller: String,
    /// Number of the drive there: a SCSI ID, or an IDE position from 0, the primary master, on.
    pub drive: u8,
    /// What is in the drive: [`MediumInfo::name`](slotone_block::MediumInfo::name), a file's path.
    pub medium: String,
    /// How long the machine has waited.
    pub patience: Duration,
}

/// Why a state cannot be taken over.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The machine is as it was.
    #[error(transparent)]
    Busy(#[from] DriveBusy),
    /// The bytes are no state of such a machine, which is in no defined state and was reset.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Why there is no hash of a machine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HashError {
    /// A request is still being carried out.
    #[error(transparent)]
    Busy(#[from] DriveBusy),
    /// A disk cannot be read.
    #[error(transparent)]
    Disk(#[from] BlockError),
}

/// What belongs to the machine itself.
#[derive(Debug, Clone, PartialEq)]
struct Head {
    now: VmInstant,
    /// Where the clock is with the instructions done: `now` stops at a run's limit and at deadlines, which may fall between two of them.
    clock: VmInstant,
    devices: u32,
    ram: u64,
}
slotone_bus::encode_fields!(Head { now, clock, devices, ram });

fn save_memory(memory: &Memory, w: &mut StateWriter) {
    let pages = memory.len() / PAGE_SIZE;
    (memory.len() as u64).encode(w);
    for index in 0..pages {
        let page = memory.slice((index * PAGE_SIZE) as u64, PAGE_SIZE).expect("the page is in the memory");
        if page.iter().any(|b| *b != 0) {
            (index as u32).encode(w);
            w.raw(page);
        }
    }
    u32::MAX.encode(w);
}

fn restore_memory(memory: &mut Memory, r: &mut StateReader<'_>) -> Result<(), StateError> {
    let len = u64::decode(r)?;
    if len != memory.len() as u64 {
        return Err(r.invalid(format!("a memory of {len} bytes for one of {}", memory.len())));
    }
    memory.slice_mut(0, memory.len()).expect("all of it").fill(0);
    loop {
        let index = u32::decode(r)?;
        if index == u32::MAX {
            break;
        }
        let page = r.take(PAGE_SIZE)?;
        let at = u64::from(index) * PAGE_SIZE as u64;
        memory.write(at, page).map_err(|_| r.invalid(format!("page {index} beyond the end")))?;
    }
    memory.invalidate_code();
    Ok(())
}

impl Machine {
    /// The whole machine but for its disks: CPU, memory, devices, time. Between two [`Machine::run`]s only, which is the only time
    /// one can call it. Waits for disk requests that are being carried out; the controllers keep them, and ask again in a restored machine.
    ///
    /// # Errors
    /// [`DriveBusy`] if that takes longer than [`Machine::set_patience`] allows; it may be tried again.
    pub fn save(&self) -> Result<Vec<u8>, DriveBusy> {
        self.board.wait_for_disks()?;
        let mut w = StateWriter::new();
        let devices = self.board.ids().count() as u32;
        let now = self.board.now();
        let clock = match self.board.time.mode() {
            ClockMode::Counted => self.board.time.target(self.cpu.retired()),
            // It stands still while the machine does.
            ClockMode::Real => now,
        };
        let head = Head { now, clock, devices, ram: self.board.ram.len() as u64 };
        w.section("machine", VERSION, &head);
        w.section("cpu", VERSION, &self.cpu.save());
        self.board.config_port.save(&mut w);
        for (id, name) in self.board.ids() {
            name.to_string().encode(&mut w);
            self.board.get(id).save(&mut w);
        }
        self.board.lent_memories().for_each(|m| save_memory(m, &mut w));
        save_memory(&self.board.ram, &mut w);
        Ok(w.into_bytes())
    }

    /// Takes a saved state over. The machine must be composed as the saved one was, its disks as they were. Waits for disk requests that are out.
    ///
    /// # Errors
    /// [`RestoreError::Busy`] if that takes longer than [`Machine::set_patience`] allows; the machine is then as it was.
    /// [`RestoreError::State`]; the machine is then in no defined state and is reset.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        self.board.before_restore()?;
        let result = self.try_restore(&mut StateReader::new(bytes));
        if result.is_err() {
            self.reset();
        }
        Ok(result?)
    }

    fn try_restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let head: Head = r.section("machine", VERSION)?;
        let names: Vec<(DeviceId, String)> = self.board.ids().map(|(id, n)| (id, n.to_string())).collect();
        if head.devices as usize != names.len() || head.ram != self.board.ram.len() as u64 {
            return Err(r.invalid("it is the state of a machine with other devices or another memory size"));
        }
        if head.clock < head.now {
            return Err(r.invalid("it has a clock that is behind the time"));
        }
        let cpu: CpuState = r.section("cpu", VERSION)?;
        self.cpu.load(&cpu)?;
        self.board.config_port.restore(r)?;
        for (id, name) in names {
            let found = String::decode(r)?;
            if found != name {
                return Err(r.invalid(format!("expected the device {name}, found {found}")));
            }
            self.board.restore_device(id, r)?;
        }
        for memory in self.board.lent_memories_mut() {
            restore_memory(memory, r)?;
        }
        restore_memory(&mut self.board.ram, r)?;
        if r.left() != 0 {
            return Err(StateError::Trailing { section: "machine".into(), left: r.left() });
        }
        self.board.set_now(head.now, self.cpu.retired());
        self.board.time.set(head.clock, self.cpu.retired());
        self.board.after_restore();
        Ok(())
    }

    /// SHA-256 over CPU, memory, device states, time and the content of every disk: equal for two runs that are the same run.
    ///
    /// Sectors with medium errors count as such. Reads every byte of every disk.
    ///
    /// # Errors
    /// [`HashError`] if a disk cannot be read for another reason, or does not answer.
    pub fn state_hash(&self) -> Result<[u8; 32], HashError> {
        let mut hash = Sha256::new();
        hash.update(self.save()?);
        let mut buffer = vec![0; 1 << 20];
        for medium in self.board.media() {
            let capacity = medium.info().capacity;
            let mut at = 0;
            while at < capacity {
                let n = (capacity - at).min(buffer.len() as u64) as usize;
                hash_piece(&mut hash, &**medium, at, &mut buffer[..n])?;
                at += n as u64;
            }
        }
        Ok(hash.finalize().into())
    }
}

/// The bytes of a medium from `at` on; of a sector that it cannot read, that it cannot.
fn hash_piece(
    hash: &mut Sha256,
    medium: &dyn BlockBackend,
    at: u64,
    buffer: &mut [u8],
) -> Result<(), BlockError> {
    match read_exact(medium, at, buffer) {
        Ok(()) => hash.update(&*buffer),
        Err(BlockError::Medium { .. }) => {
            for (sector, at) in buffer.chunks_mut(SECTOR as usize).zip((at..).step_by(SECTOR as usize)) {
                match read_exact(medium, at, sector) {
                    Ok(()) => hash.update(&*sector),
                    Err(BlockError::Medium { .. }) => hash.update(b"unreadable"),
                    Err(other) => return Err(other),
                }
            }
        }
        Err(other) => return Err(other),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotone_block::layers::{ErrorLayer, On};
    use slotone_block::memory::MemoryDisk;

    #[test]
    fn sectors_with_errors_have_a_hash() {
        let hash = |bad: std::ops::Range<u64>| {
            let medium = ErrorLayer::new(MemoryDisk::from_bytes(&[7; 4096])).bad(bad, On::Both);
            let mut hash = Sha256::new();
            hash_piece(&mut hash, &medium, 0, &mut [0; 4096]).expect("a hash");
            hash.finalize()
        };
        assert_eq!(hash(0..0), Sha256::digest([7; 4096]));
        assert_eq!(hash(512..1024), hash(512..1024));
        assert!(hash(512..1024) != hash(0..512) && hash(512..1024) != hash(512..1536));
        let medium = MemoryDisk::new(512);
        assert!(hash_piece(&mut Sha256::new(), &medium, 0, &mut [0; 4096]).is_err());
    }
}
