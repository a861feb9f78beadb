//! Commands of a disk (ATA/ATAPI-5, chapter 8).

use slotone_bus::VmInstant;

use crate::channel::Channel;
use crate::drive::Kind;
use crate::identify::{self, MAX_MULTIPLE};
use crate::registers::{command, error};
use crate::transfer::{Access, SECTOR};

/// How a data command moves its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Single,
    Multiple,
    Dma,
}

/// Commands whose address registers tell a sector at the end.
pub(crate) fn addresses_sectors(code: u8) -> bool {
    use command::*;
    matches!(
        code,
        READ_SECTORS
            | READ_SECTORS_NO_RETRY
            | WRITE_SECTORS
            | WRITE_SECTORS_NO_RETRY
            | WRITE_VERIFY
            | READ_VERIFY
            | READ_VERIFY_NO_RETRY
            | READ_MULTIPLE
            | WRITE_MULTIPLE
            | READ_DMA
            | READ_DMA_NO_RETRY
            | WRITE_DMA
            | WRITE_DMA_NO_RETRY
    )
}

impl Channel {
    /// Begins a command on the selected disk. `Err` is the content of the error register of a command that is refused.
    pub(crate) fn ata_command(&mut self, now: VmInstant, code: u8) -> Result<(), u8> {
        use command::*;
        let index = self.selected();
        let device_register = self.state.device;
        let Some(Kind::Disk(disk)) = &self.drives[index] else { return Err(error::ABRT) };
        let unit = &mut self.state.units[index];
        match code {
            READ_SECTORS | READ_SECTORS_NO_RETRY => return self.read(now, Mode::Single),
            READ_MULTIPLE => return self.read(now, Mode::Multiple),
            READ_DMA | READ_DMA_NO_RETRY => return self.read(now, Mode::Dma),
            WRITE_SECTORS | WRITE_SECTORS_NO_RETRY | WRITE_VERIFY => return self.write(now, Mode::Single),
            WRITE_MULTIPLE => return self.write(now, Mode::Multiple),
            WRITE_DMA | WRITE_DMA_NO_RETRY => return self.write(now, Mode::Dma),
            READ_VERIFY | READ_VERIFY_NO_RETRY => return self.read(now, Mode::Single),
            IDENTIFY_DEVICE => {
                let data = identify::disk(disk, unit, index == 1);
                self.send_soon(now, data);
                return Ok(());
            }
            READ_BUFFER => {
                let mut data = unit.sector_buffer.clone();
                data.resize(SECTOR as usize, 0);
                self.send_soon(now, data);
                return Ok(());
            }
            WRITE_BUFFER => {
                self.state.transfer.write = true;
                self.collect(now, SECTOR);
                return Ok(());
            }
            FLUSH_CACHE => {
                self.submit(now, Access::Flush);
                return Ok(());
            }
            c if c & 0xf0 == RECALIBRATE => {}
            c if c & 0xf0 == SEEK => {
                if unit.address(device_register).is_none_or(|sector| sector >= disk.sectors) {
                    return Err(error::IDNF);
                }
            }
            INITIALIZE_DEVICE_PARAMETERS => {
                // Sectors per track, and the highest head; the translation must cover a cylinder.
                let heads = (device_register & 0x0f) + 1;
                if unit.count.now == 0 {
                    unit.heads = 0;
                    return Err(error::ABRT);
                }
                unit.heads = heads;
                unit.sectors = unit.count.now;
            }
            SET_MULTIPLE_MODE => {
                let sectors = unit.count.now;
                if sectors > MAX_MULTIPLE || (sectors != 0 && !sectors.is_power_of_two()) {
                    unit.multiple = 0;
                    return Err(error::ABRT);
                }
                unit.multiple = sectors;
            }
            SET_FEATURES => match (unit.features, unit.count.now) {
                (0x02, _) => unit.write_cache = true,
                (0x82, _) => unit.write_cache = false,
                (0xaa, _) => unit.look_ahead = true,
                (0x55, _) => unit.look_ahead = false,
                // Settings survive a software reset in any case.
                (0x66 | 0xcc, _) => {}
                (0x03, mode) if transfer_mode_exists(mode) => unit.transfer_mode = mode,
                _ => return Err(error::ABRT),
            },
            READ_NATIVE_MAX_ADDRESS => {
                self.state.device = unit.set_address(device_register, disk.sectors.saturating_sub(1));
            }
            CHECK_POWER_MODE | CHECK_POWER_MODE_OLD => {
                let mode = if unit.standby { 0x00 } else { 0xff };
                unit.count.push(mode);
            }
            STANDBY_IMMEDIATE | STANDBY_IMMEDIATE_OLD | STANDBY | STANDBY_OLD | SLEEP | SLEEP_OLD => {
                unit.standby = true;
            }
            IDLE_IMMEDIATE | IDLE_IMMEDIATE_OLD | IDLE | IDLE_OLD => unit.standby = false,
            // NOP is always aborted (8.20); so is what the drive does not have: SMART, security, media status.
            _ => return Err(error::ABRT),
        }
        self.finish_soon(now, 0);
        Ok(())
    }

    /// Checks address and count of a data command, and prepares the transfer.
    fn locate(&mut self, mode: Mode) -> Result<u32, u8> {
        let index = self.selected();
        let device_register = self.state.device;
        let Some(Kind::Disk(disk)) = &self.drives[index] else { return Err(error::ABRT) };
        let unit = &mut self.state.units[index];
        let block = match mode {
            Mode::Multiple if unit.multiple == 0 => return Err(error::ABRT),
            Mode::Multiple => u32::from(unit.multiple),
            Mode::Single | Mode::Dma => 1,
        };
        let count = unit.sector_count();
        let first = unit.address(device_register).ok_or(error::IDNF)?;
        unit.standby = false;
        let t = &mut self.state.transfer;
        t.dma = mode == Mode::Dma;
        t.block = block * SECTOR;
        t.offset = u64::from(first) * u64::from(SECTOR);
        t.left = u64::from(count) * u64::from(SECTOR);
        if first >= disk.sectors || count > disk.sectors - first {
            return Err(error::IDNF);
        }
        Ok(count)
    }

    fn read(&mut self, now: VmInstant, mode: Mode) -> Result<(), u8> {
        self.locate(mode)?;
        self.submit(now, Access::Read);
        Ok(())
    }

    fn write(&mut self, now: VmInstant, mode: Mode) -> Result<(), u8> {
        let count = self.locate(mode)?;
        if matches!(&self.drives[self.selected()], Some(Kind::Disk(disk)) if disk.read_only) {
            return Err(error::ABRT);
        }
        self.state.transfer.write = true;
        self.collect(now, count * SECTOR);
        Ok(())
    }
}

/// SET FEATURES 03h: the modes a drive of this kind has.
pub(crate) fn transfer_mode_exists(mode: u8) -> bool {
    matches!(mode, 0x00 | 0x01 | 0x08..=0x0c | 0x20..=0x22 | 0x40..=0x42)
}
