//! Direct Linux boot: the kernel is entered by its 32-bit protocol once POST is done.

use slotone_firmware::linux_boot::{LinuxBoot, LinuxBootError};

use crate::machine::Machine;

/// A kernel to be entered directly.
#[derive(Clone, Default)]
pub struct LinuxImage {
    /// A bzImage or a 32-bit ELF `vmlinux`.
    pub kernel: Vec<u8>,
    /// Initial RAM disk; empty for none.
    pub initrd: Vec<u8>,
    /// The kernel's command line.
    pub command_line: String,
}

impl std::fmt::Debug for LinuxImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinuxImage")
            .field("kernel", &self.kernel.len())
            .field("initrd", &self.initrd.len())
            .field("command_line", &self.command_line)
            .finish()
    }
}

impl LinuxImage {
    /// Checks that the kernel can be entered with this much memory.
    pub(crate) fn check(&self, memory: u64) -> Result<(), LinuxBootError> {
        self.boot(memory, (0, 0)).load(&mut |_, _| ()).map(|_| ())
    }

    fn boot(&self, memory: u64, cursor: (u8, u8)) -> LinuxBoot<'_> {
        LinuxBoot {
            kernel: &self.kernel,
            initrd: &self.initrd,
            command_line: &self.command_line,
            memory,
            cursor,
        }
    }
}

impl Machine {
    /// Places the kernel and sets the CPU to its entry.
    pub(crate) fn enter_linux(&mut self) {
        let Some(image) = self.linux.take() else { return };
        let memory = self.board.ram.len() as u64;
        // Cursor position of page 0 in the BIOS data area, where the kernel's own messages go on.
        let mut cursor = [0; 2];
        self.board.physical_read(0x450, &mut cursor);
        let board = &mut self.board;
        let entry = image
            .boot(memory, (cursor[0].min(79), cursor[1].min(24)))
            .load(&mut |address, bytes| board.physical_write(address, bytes));
        if let Ok(entry) = entry {
            let mut state = self.cpu.save();
            entry.apply(&mut state);
            let loaded = self.cpu.load(&state);
            debug_assert!(loaded.is_ok(), "the entry state is valid: {loaded:?}");
        }
        self.linux = Some(image);
    }
}
