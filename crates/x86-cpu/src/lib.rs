//! A portable software CPU: one Pentium II/III-class 32-bit x86 processor.
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
