//! The front: finds and decodes blocks, delivers events, and tells when to return.

use crate::block::{BlockCache, Op, Straddler};
use crate::debug::DR6_BS;
use crate::decode::fuse::{Pair, fuse};
use crate::decode::{self, MAX_LEN, Trouble};
use crate::engine;
use crate::exceptions::vector;
use crate::fast_mem::{self, CodePage};
use crate::flags;
use crate::state::*;
use slotone_bus::cpu::{CpuBus, Exit, KickHandle};
use slotone_bus::mem::{HostPage, PAGE_SIZE};

/// A kick is noticed after at most so many instructions.
const SLICE: u64 = 1 << 16;
/// Most instructions of a block.
const MAX_BLOCK: usize = 48;

/// The front's functions; the state is in [`Core`] and [`BlockCache`].
pub(crate) struct Front;

/// What [`Front::locate`] found.
enum Code {
    Block(u32),
    /// An instruction that is no block: on two pages, or not in memory.
    Single(Op),
}

impl Front {
    /// The body of `Cpu::run`.
    pub(crate) fn run(
        core: &mut Core,
        cache: &mut BlockCache,
        kick: &KickHandle,
        bus: &mut dyn CpuBus,
    ) -> Exit {
        let mut pins = Pins { bus };
        core.index = 0;
        core.attention = true;
        core.pull(&mut pins);
        loop {
            if core.attention || core.retired >= core.limit {
                if let Some(exit) = Self::look_around(core, kick, &mut pins) {
                    return exit;
                }
                if core.attention {
                    Self::step(core, cache, &mut pins);
                    continue;
                }
            }
            if let Some(block) = Self::find_or_decode(core, cache, &mut pins) {
                engine::run(core, cache, &mut pins, block);
                core.index = 0;
            }
        }
    }

    /// Takes what is pending at an instruction boundary. `Some`: return. With [`Core::attention`] still set afterwards one
    /// instruction is to be run alone.
    fn look_around(core: &mut Core, kick: &KickHandle, pins: &mut Pins<'_>) -> Option<Exit> {
        loop {
            Self::apply_map(core);
            let shadow = core.retired == core.shadow_at;
            // A trap belongs to the instruction that has just retired: no budget comes between.
            if shadow && core.shadow_traps {
                core.debug_hits &= !DR6_BS;
            } else if core.debug_hits != 0 {
                core.take_debug_trap(pins);
            }
            if core.shutdown {
                return Some(Exit::Shutdown);
            }
            let a = core.after;
            if a.stop {
                return Some(Exit::Stop);
            }
            if core.retired >= a.until {
                return Some(Exit::Budget);
            }
            if kick.take() {
                return Some(Exit::Kick);
            }
            if !shadow {
                if core.nmi_pending && !core.nmi_blocked {
                    core.nmi_pending = false;
                    core.nmi_blocked = true;
                    core.halted = false;
                    core.deliver_external(pins, vector::NMI);
                    core.retired += 1;
                    continue;
                }
                if a.intr && core.flag(flags::IF) {
                    let vector = pins.bus.intack(core.retired);
                    core.pull(pins);
                    core.halted = false;
                    core.deliver_external(pins, vector);
                    core.retired += 1;
                    continue;
                }
                if core.flags & (flags::VIP | flags::VIF) == flags::VIP | flags::VIF
                    && core.cr4 & (CR4_VME | CR4_PVI) != 0
                    && core.cpl == 3
                    && core.iopl() < 3
                {
                    core.gp(0);
                    Self::fault(core, pins);
                    continue;
                }
            }
            if core.halted {
                return Some(Exit::Halt { interruptible: core.flag(flags::IF) });
            }
            let waiting = shadow && (a.intr || core.nmi_pending || core.debug_hits != 0);
            let stepping =
                core.flags & (flags::TF | flags::RF) != 0 || core.watches_instructions() || waiting;
            core.attention = stepping;
            core.limit = a.until.min(core.retired.saturating_add(if stepping { 1 } else { SLICE }));
            return None;
        }
    }

    /// Runs one instruction under the eyes of single step and breakpoints.
    fn step(core: &mut Core, cache: &mut BlockCache, pins: &mut Pins<'_>) {
        if core.watches_instructions() && core.check_instruction_breakpoints().is_err() {
            Self::fault(core, pins);
            return;
        }
        let stepping = core.flag(flags::TF);
        // It holds for this instruction, which may load another: IRET does (SDM vol. 3, 17.3.1.1).
        core.flags &= !flags::RF;
        core.interrupted = false;
        if let Some(block) = Self::find_or_decode(core, cache, pins) {
            engine::run(core, cache, pins, block);
            core.index = 0;
        }
        if core.interrupted {
            return;
        }
        if stepping {
            core.debug_hits |= DR6_BS;
        }
    }

    fn apply_map(core: &mut Core) {
        let a = core.after;
        let mask = if a.a20 { u64::MAX } else { !(1 << 20) };
        if a.map_generation != core.map_generation {
            core.map_generation = a.map_generation;
            core.forget_map();
        }
        if mask != core.a20_mask {
            core.a20_mask = mask;
            core.flush_tlb(true);
        }
    }

    /// Delivers the noted exception at EIP. It counts as one instruction, so that nothing can go on for ever uncounted.
    #[cold]
    pub(crate) fn fault(core: &mut Core, pins: &mut Pins<'_>) {
        core.deliver_fault(pins);
        core.interrupted = true;
        core.retired += 1;
        if core.shutdown {
            core.poke();
        }
    }

    /// Whether so many bytes of code fit into the code segment.
    #[inline(always)]
    pub(crate) fn fits(core: &Core, bytes: u32) -> bool {
        core.mode & mode::FLAT_CS != 0 || {
            let end = u64::from(core.eip) + u64::from(bytes);
            end <= u64::from(core.seg[CS].limit) + 1
        }
    }

    /// The block to go on with. `None`: look around; an instruction was run alone, or an exception delivered.
    #[inline(always)]
    pub(crate) fn find_or_decode(
        core: &mut Core,
        cache: &mut BlockCache,
        pins: &mut Pins<'_>,
    ) -> Option<u32> {
        let linear = core.seg[CS].base.wrapping_add(core.eip);
        if let Some((id, epoch)) = cache.jump(linear, core.mode) {
            let block = &cache.blocks[id as usize];
            if (epoch == core.epoch || epoch == core.global_epoch)
                && block.code.generation() == block.generation
                && Self::fits(core, block.bytes)
            {
                return Some(id);
            }
        }
        Self::locate_or_run(core, cache, pins, linear)
    }

    #[cold]
    #[inline(never)]
    fn locate_or_run(
        core: &mut Core,
        cache: &mut BlockCache,
        pins: &mut Pins<'_>,
        linear: u32,
    ) -> Option<u32> {
        core.index = 0;
        if let Some((id, _)) = cache.jump(linear, core.mode) {
            // The TLB or the page has changed since, but perhaps not here.
            let block = &cache.blocks[id as usize];
            if Self::fits(core, block.bytes)
                && block.page_epoch == core.page_epoch
                && core.still_maps(linear, block.key >> 16)
                && cache.check(core, id)
            {
                cache.remember_jump(linear, core.epoch_of(linear), core.mode, id);
                return Some(id);
            }
        }
        match Self::locate(core, cache, pins, linear) {
            Ok(Code::Block(id)) => {
                cache.remember_jump(linear, core.epoch_of(linear), core.mode, id);
                Some(id)
            }
            Ok(Code::Single(op)) => {
                engine::run_single(core, pins, &op);
                None
            }
            Err(_) => {
                Self::fault(core, pins);
                None
            }
        }
    }

    fn locate(core: &mut Core, cache: &mut BlockCache, pins: &mut Pins<'_>, linear: u32) -> Fallible<Code> {
        let Some(room) = core.seg[CS].limit.checked_sub(core.eip) else { return Err(core.gp(0)) };
        let physical = core.translate_page(pins, core.part, linear, false)?;
        let key = BlockCache::key(physical, core.mode);
        let offset = physical as usize % PAGE_SIZE;
        let in_segment = usize::try_from(u64::from(room) + 1).unwrap_or(usize::MAX);
        let here = (PAGE_SIZE - offset).min(in_segment);
        let Some(page) = core.phys.page(pins.bus, (physical >> 12) as u32).read.clone() else {
            return Self::fetch_single(core, pins, linear, in_segment);
        };
        // A block of the same address may be of memory that was there before.
        if let Some(id) = cache.find(key) {
            let block = &cache.blocks[id as usize];
            if block.code.is(&page) && Self::fits(core, block.bytes) && cache.check(core, id) {
                cache.blocks[id as usize].page_epoch = core.page_epoch;
                return Ok(Code::Block(id));
            }
        }
        if here < MAX_LEN
            && let Some(op) = Self::known_straddler(core, cache, pins, linear, in_segment, key)?
        {
            return Ok(Code::Single(op));
        }
        let mut bytes = [0; MAX_BLOCK * MAX_LEN];
        let have = here.min(bytes.len());
        let bytes = &mut bytes[..have];
        fast_mem::copy_from(&page, offset, bytes);
        if cache.full() {
            cache.clear();
        }
        let (mut count, mut at) = (0, 0);
        let mut before = Pair::None;
        while count < MAX_BLOCK as u32 && at < have {
            let Ok(mut found) = decode::decode(&bytes[at..], core.mode, core.model.features) else { break };
            at += usize::from(found.op.len);
            found.op.end = at as u16;
            if found.branch {
                found.op.link = cache.new_link();
            }
            if let Some(last) = cache.ops.last_mut().filter(|_| count > 0) {
                fuse(last, before, &found.op, found.pair);
            }
            before = found.pair;
            cache.ops.push(found.op);
            count += 1;
            if found.end {
                break;
            }
        }
        if count == 0 {
            return Self::fetch_straddler(core, cache, pins, linear, in_segment, key, page);
        }
        core.mark_code(&page, physical, at);
        Ok(Code::Block(cache.insert(key, count, &bytes[..at], CodePage::new(page), core.page_epoch)))
    }

    /// An instruction on two pages that was decoded before.
    fn known_straddler(
        core: &mut Core,
        cache: &BlockCache,
        pins: &mut Pins<'_>,
        linear: u32,
        in_segment: usize,
        key: u64,
    ) -> Fallible<Option<Op>> {
        let Some(s) = cache.straddler(key, core.page_epoch) else { return Ok(None) };
        let (second, op) = (s.second, s.op);
        if usize::from(op.len) > in_segment {
            return Ok(None);
        }
        let next = (linear | 0xFFF).wrapping_add(1);
        let physical = core.translate_page(pins, core.part, next, false)?;
        Ok((physical >> 12 == u64::from(second)).then_some(op))
    }

    /// An instruction on two pages.
    fn fetch_straddler(
        core: &mut Core,
        cache: &mut BlockCache,
        pins: &mut Pins<'_>,
        linear: u32,
        in_segment: usize,
        key: u64,
        page: HostPage,
    ) -> Fallible<Code> {
        let offset = linear as usize % PAGE_SIZE;
        let here = PAGE_SIZE - offset;
        if here >= in_segment.min(MAX_LEN) {
            return Self::fetch_single(core, pins, linear, in_segment);
        }
        let physical = core.translate_page(pins, core.part, linear.wrapping_add(here as u32), false)?;
        let second = (physical >> 12) as u32;
        let Some(next) = core.phys.page(pins.bus, second).read.clone() else {
            return Self::fetch_single(core, pins, linear, in_segment);
        };
        let mut bytes = [0; MAX_LEN];
        let have = in_segment.min(MAX_LEN);
        fast_mem::copy_from(&page, offset, &mut bytes[..here]);
        fast_mem::copy_from(&next, 0, &mut bytes[here..have]);
        let Ok(found) = decode::decode(&bytes[..have], core.mode, core.model.features) else {
            return Err(core.gp(0));
        };
        let mut op = found.op;
        op.end = u16::from(op.len);
        let beyond = usize::from(op.len).saturating_sub(here).max(1);
        core.mark_code(&page, key >> 16, here);
        core.mark_code(&next, u64::from(second) << 12, beyond);
        let pages = [CodePage::new(page), CodePage::new(next)];
        let generations = [pages[0].generation(), pages[1].generation()];
        let page_epoch = core.page_epoch;
        cache.remember_straddler(Straddler { key, second, pages, generations, page_epoch, op });
        Ok(Code::Single(op))
    }

    /// An instruction from beyond memory, or one that the segment cuts off.
    fn fetch_single(core: &mut Core, pins: &mut Pins<'_>, linear: u32, in_segment: usize) -> Fallible<Code> {
        let mut bytes = [0; MAX_LEN];
        for n in 0..MAX_LEN {
            if n >= in_segment {
                return Err(core.gp(0));
            }
            let physical = core.translate_page(pins, core.part, linear.wrapping_add(n as u32), false)?;
            core.phys_read(pins, physical, &mut bytes[n..=n]);
            match decode::decode(&bytes[..=n], core.mode, core.model.features) {
                Ok(found) => {
                    let mut op = found.op;
                    op.end = u16::from(op.len);
                    return Ok(Code::Single(op));
                }
                Err(Trouble::Short) => {}
                Err(Trouble::Long) => break,
            }
        }
        Err(core.gp(0))
    }
}
