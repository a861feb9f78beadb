//! The interpreter: runs decoded blocks, one handler call per instruction.
//!
//! The front ([`crate::run`]) finds and decodes blocks and looks after events; an engine gets a block and runs on from
//! there as long as it finds blocks at hand and nothing asks for attention. A translating engine would take this
//! module's place.

use crate::block::{BlockCache, Flow, Link, Op};
use crate::ops::{NEXT, Step};
use crate::run::Front;
use crate::state::{CS, Core, Pins, mode};

/// Runs from block `id` until the front must look around. EIP and the count of retired instructions are right afterwards;
/// [`Core::index`] is to be cleared before anything but more instructions.
pub(crate) fn run(core: &mut Core, cache: &mut BlockCache, pins: &mut Pins<'_>, mut id: u32) {
    'blocks: loop {
        let block = &cache.blocks[id as usize];
        let first = block.first as usize;
        let ops = &cache.ops[first..first + block.count as usize];
        let start = core.eip;
        let room = usize::try_from(core.limit - core.retired).unwrap_or(usize::MAX);
        let n = ops.len().min(room);
        core.stop_at = n as u32;
        let allowed = &ops[..n];
        let mut rest = allowed.iter();
        let mut i = 0;
        // Where the next block is noted.
        let slot = 'ops: {
            while let Some(op) = rest.next() {
                core.index = i;
                let step = (op.run)(core, pins, op);
                i += 1;
                if step != NEXT {
                    // Apart from the comparison above: one jump table for all would cost every instruction a second
                    // jump that is hard to predict.
                    match std::hint::black_box(step) {
                        Ok(Flow::Taken) => {
                            core.retired += u64::from(i);
                            break 'ops op.link;
                        }
                        Ok(Flow::Next | Flow::Skip) => {
                            i += 1;
                            rest.next();
                        }
                        Ok(Flow::Jump) => {
                            core.retired += u64::from(i);
                            if core.attention || core.retired >= core.limit {
                                return;
                            }
                            let Some(next) = Front::find_or_decode(core, cache, pins) else { return };
                            id = next;
                            continue 'blocks;
                        }
                        step => {
                            if !leave(core, pins, op, i - 1, step) {
                                return;
                            }
                            break 'ops block.fall;
                        }
                    }
                }
                if core.attention {
                    break;
                }
            }
            core.retired += u64::from(i);
            core.eip = core.next_eip(&ops[i as usize - 1]);
            if (i as usize) < ops.len() {
                return;
            }
            block.fall
        };
        if core.attention || core.retired >= core.limit {
            return;
        }
        let linear = core.seg[CS].base.wrapping_add(core.eip);
        let link = &cache.links[slot as usize];
        let e = link.epoch;
        if link.linear == linear && (e == core.page_epoch || e == core.global_epoch || e == core.epoch) {
            let next = &cache.blocks[link.block as usize];
            if next.code.generation() == next.generation && Front::fits(core, next.bytes) {
                id = link.block;
                continue;
            }
        }
        let Some(next) = find_and_link(core, cache, pins, slot, start) else { return };
        id = next;
    }
}

/// The ways out of a block that do not have to be fast. Answers whether the block behind this one follows.
#[inline(never)]
fn leave(core: &mut Core, pins: &mut Pins<'_>, op: &Op, i: u32, step: Step) -> bool {
    core.retired += u64::from(i);
    match step {
        Ok(Flow::Again) => core.eip = core.this_eip(op),
        Ok(_) => {
            core.retired += 1;
            return true;
        }
        Err(_) => {
            core.index = 0;
            if !std::mem::take(&mut core.eip_exact) {
                core.eip = core.this_eip(op);
            }
            Front::fault(core, pins);
        }
    }
    false
}

/// Finds the block at EIP and notes it in a link; `start` is where the block that it belongs to was entered.
#[cold]
#[inline(never)]
fn find_and_link(
    core: &mut Core,
    cache: &mut BlockCache,
    pins: &mut Pins<'_>,
    slot: u32,
    start: u32,
) -> Option<u32> {
    let linear = core.seg[CS].base.wrapping_add(core.eip);
    let clears = cache.clears;
    let next = Front::find_or_decode(core, cache, pins)?;
    if cache.clears == clears {
        // Same page: what led to the one leads to the other, whatever happens to the tables.
        let same_page = core.mode & mode::FLAT_CS != 0 && (start ^ linear) >> 12 == 0;
        let epoch = if same_page { core.page_epoch } else { core.epoch_of(linear) };
        cache.links[slot as usize] = Link { linear, epoch, block: next };
    }
    Some(next)
}

/// Runs one instruction that is no block.
pub(crate) fn run_single(core: &mut Core, pins: &mut Pins<'_>, op: &Op) {
    core.stop_at = 1;
    let step = (op.run)(core, pins, op);
    match step {
        Ok(Flow::Next | Flow::Skip) => {
            core.retired += 1;
            core.eip = core.next_eip(op);
        }
        Ok(Flow::Taken | Flow::Jump) => core.retired += 1,
        _ => {
            leave(core, pins, op, 0, step);
        }
    }
}
