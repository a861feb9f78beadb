//! A portable software CPU: one 32-bit x86 processor of the Pentium II/III class.
//!
//! Facts: Intel Architecture Software Developer's Manual (245470 to 245472), Pentium II specification update (243337).
//!
//! [`SoftCpu`] implements [`slotone_bus::cpu::Cpu`]: give it a [`CpuBus`] and call [`run`](Cpu::run). It returns when the
//! bus's budget is used up, when it halts with nothing to deliver, when the bus asks it to stop, when it is kicked, or
//! when it shuts down. What it is made of, how it is proved, and its limits are in the crate's README.
//!
//! ```
//! use slotone_bus::cpu::{Cpu, Exit};
//! use slotone_x86_cpu::{CpuModel, SoftCpu, test_bus::TestBus};
//!
//! let mut bus = TestBus::new(64 * 1024)?;
//! // mov ax,6; mov cx,7; mul cx; hlt
//! bus.ram.write(0x7C00, &[0xB8, 6, 0, 0xB9, 7, 0, 0xF7, 0xE1, 0xF4])?;
//! let mut cpu = SoftCpu::new(CpuModel::pentium2());
//! bus.start_real(&mut cpu, 0, 0x7C00);
//! assert_eq!(cpu.run(&mut bus), Exit::Halt { interruptible: false });
//! let state = cpu.save();
//! assert_eq!((state.gpr[0], state.retired), (42, 4));
//! # Ok::<(), slotone_bus::mem::MemoryError>(())
//! ```
//!
//! # Front and engine
//!
//! The front (`run`, `decode`, `mmu`, `exceptions` and the state) finds and decodes blocks, delivers events and keeps the
//! budget. The engine (`engine`) gets a block and executes from there until something asks for attention. A translator to
//! host code takes the engine's place and uses the same front; `retired`, memory and registers must agree with the
//! interpreter at every point where the front looks around.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

mod block;
mod debug;
mod decode;
mod engine;
mod exceptions;
#[allow(unsafe_code, reason = "guest memory without a call; the one module with unsafe in it")]
mod fast_mem;
mod flags;
pub mod fpu;
mod int;
mod mmu;
pub mod model;
mod ops;
mod run;
mod segmentation;
pub mod simd;
mod snapshot;
mod state;
mod tasks;
pub mod test_bus;

pub use model::CpuModel;

use block::BlockCache;
use run::Front;
use slotone_bus::cpu::{Cpu, CpuBus, CpuReset, CpuState, Exit, KickHandle};
use slotone_bus::state::StateError;
use state::Core;

/// The software CPU.
pub struct SoftCpu {
    core: Core,
    cache: BlockCache,
    kick: KickHandle,
}

impl SoftCpu {
    /// A processor of that model as RESET leaves it.
    pub fn new(model: CpuModel) -> Self {
        Self { core: Core::new(model), cache: BlockCache::new(), kick: KickHandle::new() }
    }

    /// The model it was made of.
    pub fn model(&self) -> &CpuModel {
        &self.core.model
    }
}

impl std::fmt::Debug for SoftCpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SoftCpu").field("model", &self.core.model.name).field("state", &self.save()).finish()
    }
}

impl Cpu for SoftCpu {
    fn run(&mut self, bus: &mut dyn CpuBus) -> Exit {
        Front::run(&mut self.core, &mut self.cache, &self.kick, bus)
    }

    fn retired(&self) -> u64 {
        self.core.retired
    }

    fn reset(&mut self, kind: CpuReset) {
        self.core.reset(kind);
    }

    fn save(&self) -> CpuState {
        self.core.save()
    }

    fn load(&mut self, state: &CpuState) -> Result<(), StateError> {
        self.core.load(state)
    }

    fn translate(&self, bus: &mut dyn CpuBus, linear: u32) -> Option<u64> {
        self.core.translate_quietly(bus, linear)
    }

    fn kick_handle(&self) -> KickHandle {
        self.kick.clone()
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
