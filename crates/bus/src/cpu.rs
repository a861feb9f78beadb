//! The processor and what it is plugged into.
//!
//! [`Cpu`] is implemented by the software CPU and by the host's CPU behind KVM; a device cannot tell which one runs.
//! Accesses go straight to the [`CpuBus`] inside [`Cpu::run`]; what they changed (an interrupt, the address map, how long to
//! go on) the CPU *pulls* with [`CpuBus::after`], so nobody ever calls back into a borrowed CPU.

use crate::mem::HostPage;
use crate::state::StateError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the CPU must know after an access, asked for by the CPU. `Copy`, small, cheap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// INTR: the interrupt controller has a request.
    pub intr: bool,
    /// NMI pin; the CPU latches its rising edge.
    pub nmi: bool,
    /// A20M# inverted: `false` forces address bit 20 to zero.
    pub a20: bool,
    /// Changes, and is unique among machines of the process, whenever an answer of [`CpuBus::map`] may have changed.
    pub map_generation: u64,
    /// [`Cpu::retired`] at which `run` returns [`Exit::Budget`] (the next device deadline, for instance).
    pub until: u64,
    /// Return [`Exit::Stop`] once the current instruction has retired (reset, power-off, a firmware call).
    pub stop: bool,
}

/// Where a 4 KiB page of physical addresses leads. `None` means that accesses go to [`CpuBus::mem_read`] and [`CpuBus::mem_write`].
#[derive(Debug, Clone, Default)]
pub struct PageMap {
    /// Reads and instruction fetches.
    pub read: Option<HostPage>,
    /// Writes. Absent for ROM, device memory and open bus.
    pub write: Option<HostPage>,
}

/// The board as the CPU's pins see it.
///
/// `retired` is [`Cpu::retired`] at the access: instructions completed before the one that makes it, from which a
/// machine with a counted clock derives the time. Accesses are little-endian; `data.len()` is 1, 2, 4, or 8 for memory.
/// Multi-byte accesses never cross a page for memory; ports may cross a dword boundary and are then split by the bus.
pub trait CpuBus {
    /// Reads an I/O port.
    fn io_read(&mut self, retired: u64, port: u16, data: &mut [u8]);
    /// Writes an I/O port.
    fn io_write(&mut self, retired: u64, port: u16, data: &[u8]);
    /// REP INS: reads the same port `data.len() / width` times. Returns bytes done (whole elements, at least one), fewer where
    /// the device's state changed in between (a line moved, a DRQ block ended). The CPU has checked the destination.
    fn io_read_burst(&mut self, retired: u64, port: u16, width: usize, data: &mut [u8]) -> usize;
    /// REP OUTS: the counterpart of [`CpuBus::io_read_burst`].
    fn io_write_burst(&mut self, retired: u64, port: u16, width: usize, data: &[u8]) -> usize;
    /// Reads physical memory that [`CpuBus::map`] did not map.
    fn mem_read(&mut self, retired: u64, address: u64, data: &mut [u8]);
    /// Writes physical memory that [`CpuBus::map`] did not map.
    fn mem_write(&mut self, retired: u64, address: u64, data: &[u8]);
    /// The page that holds physical `address` (A20 already applied). The CPU keeps the answer until `map_generation` changes.
    fn map(&mut self, address: u64) -> PageMap;
    /// Interrupt acknowledge: takes the vector from the interrupt controller. Called only when the CPU delivers it next.
    fn intack(&mut self, retired: u64) -> u8;
    /// The time-stamp counter as RDTSC sees it, before the guest's own offset. Brings the board's time up to date like an access.
    fn tsc(&mut self, retired: u64) -> u64;
    /// FERR#: an unmasked x87 error is pending (`true`) or gone, with CR0.NE = 0. Routed to IRQ 13 on a PC.
    fn ferr(&mut self, retired: u64, level: bool);
    /// What changed. Asked when `run` begins and after every access or acknowledge.
    fn after(&mut self) -> After;
}

/// Why [`Cpu::run`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// The count in [`After::until`] is reached.
    Budget,
    /// HLT with nothing to deliver; `interruptible` is false if only NMI, INIT or reset can end it (IF = 0).
    Halt {
        /// EFLAGS.IF.
        interruptible: bool,
    },
    /// Triple fault.
    Shutdown,
    /// [`After::stop`] was set; the instruction that caused it has retired.
    Stop,
    /// [`KickHandle::kick`] was called.
    Kick,
    /// The CPU cannot go on (KVM's emulator, for instance); `eip` is where.
    Unsupported {
        /// Instruction pointer.
        eip: u32,
    },
}

/// How the processor is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuReset {
    /// RESET#: everything takes its power-on value.
    Power,
    /// INIT#: as RESET# but caches, MSRs, MTRRs, the x87 and SSE state and the TSC survive.
    Init,
}

/// A segment register with its hidden part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// Visible selector.
    pub selector: u16,
    /// Linear base address.
    pub base: u32,
    /// Limit in bytes, granularity applied: the last valid offset (for expand-down data: the last invalid one).
    pub limit: u32,
    /// Bits 40-55 of the descriptor as KVM and VMX lay them out: 3:0 type, 4 S, 6:5 DPL, 7 P, 12 AVL, 14 D/B, 15 G; bit 16: unusable.
    pub attributes: u32,
}

/// GDTR or IDTR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableRegister {
    /// Linear base address.
    pub base: u32,
    /// Limit in bytes.
    pub limit: u16,
}

/// The architectural state of a 32-bit processor: what two CPUs that are to be indistinguishable must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuState {
    /// EAX ECX EDX EBX ESP EBP ESI EDI.
    pub gpr: [u32; 8],
    /// Instruction pointer.
    pub eip: u32,
    /// EFLAGS.
    pub eflags: u32,
    /// ES CS SS DS FS GS.
    pub segments: [Segment; 6],
    /// Local descriptor table register.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table register.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table register.
    pub idtr: TableRegister,
    /// CR0.
    pub cr0: u32,
    /// CR2.
    pub cr2: u32,
    /// CR3.
    pub cr3: u32,
    /// CR4.
    pub cr4: u32,
    /// PAE page-directory-pointer registers, as loaded by the last write of CR3 (0 without PAE).
    pub pdpte: [u64; 4],
    /// DR0-DR3, DR6 and DR7 at 6 and 7; 4 and 5 are zero.
    pub dr: [u32; 8],
    /// x87, MMX, XMM and MXCSR in the layout of FXSAVE.
    pub fx: [u8; 512],
    /// Model-specific registers by number, ascending; at least the time-stamp offset, SYSENTER and MTRRs.
    pub msr: Vec<(u32, u64)>,
    /// Instructions retired since power-on; the deterministic clock.
    pub retired: u64,
    /// HLT was executed and nothing has ended it.
    pub halted: bool,
    /// Triple fault: only reset or INIT go on from here.
    pub shutdown: bool,
    /// Interrupts are held off for one instruction (after STI or a load of SS).
    pub interrupt_shadow: bool,
    /// An NMI is being handled; further ones wait for IRET.
    pub nmi_blocked: bool,
    /// An NMI edge was latched and not delivered yet.
    pub nmi_pending: bool,
    /// The level of the NMI pin last seen.
    pub nmi_level: bool,
    /// The level of FERR# last driven; it rises when a waiting x87 instruction meets an unmasked error, not when that happens.
    pub ferr: bool,
    /// The interrupt shadow is that of a load of SS: it holds debug traps off too.
    pub traps_held: bool,
    /// Data breakpoints that a load of SS hit and whose trap it holds off, as in DR6 3:0; 0 unless `traps_held`.
    pub held_hits: u32,
}

crate::encode_fields!(Segment { selector, base, limit, attributes });
crate::encode_fields!(TableRegister { base, limit });
crate::encode_fields!(CpuState {
    gpr,
    eip,
    eflags,
    segments,
    ldtr,
    tr,
    gdtr,
    idtr,
    cr0,
    cr2,
    cr3,
    cr4,
    pdpte,
    dr,
    fx,
    msr,
    retired,
    halted,
    shutdown,
    interrupt_shadow,
    nmi_blocked,
    nmi_pending,
    nmi_level,
    ferr,
    traps_held,
    held_hits
});

/// Makes [`Cpu::run`] on another thread return soon. Sticky: a kick before `run` ends the next `run` at once.
#[derive(Debug, Clone, Default)]
pub struct KickHandle(Arc<AtomicBool>);

impl KickHandle {
    /// A handle that nobody has kicked.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the CPU to return [`Exit::Kick`].
    pub fn kick(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether kicked; does not clear it.
    #[inline]
    pub fn is_kicked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Clears the kick and says whether there was one.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// One processor.
pub trait Cpu: Send {
    /// Runs until something stops it. The machine applies line changes and time between runs and inside the bus.
    fn run(&mut self, bus: &mut dyn CpuBus) -> Exit;
    /// Instructions retired since power-on. A REP instruction counts once per iteration.
    fn retired(&self) -> u64;
    /// Resets or initialises; [`Cpu::retired`] goes on counting.
    fn reset(&mut self, kind: CpuReset);
    /// The architectural state.
    fn save(&self) -> CpuState;
    /// Takes over a state.
    ///
    /// # Errors
    /// [`StateError::Invalid`] if no such processor can be in that state; nothing has changed then.
    fn load(&mut self, state: &CpuState) -> Result<(), StateError>;
    /// The physical address of a linear one by the page tables in force, as a supervisor read, without side effects.
    fn translate(&self, bus: &mut dyn CpuBus, linear: u32) -> Option<u64>;
    /// A handle that ends `run` from another thread.
    fn kick_handle(&self) -> KickHandle;
}
