//! The interpreter: runs decoded blocks, one handler call per instruction.
//!
//! The front ([`crate::run`]) finds and decodes blocks and looks after events; an engine gets a block and runs on from
//! there as long as it finds blocks at hand and nothing asks for attention. A translating engine would take this
//! module's place.

use crate::block::{BlockCache, Flow, Link, Op};
use crate::run::Front;
use crate::state::{CS, Core, Pins, mode};

/// How a run of instructions ended.
enum Left {
    /// With a jump of this link, or to anywhere.
    To(usize),
    Anywhere,
    /// The front must look around, or an exception was delivered.
    Look,
}

/// Runs from block `id` until the front must look around.
pub(crate) fn run(core: &mut Core, cache: &mut BlockCache, pins: &mut Pins<'_>, mut id: u32) {
    loop {
        let block = &cache.blocks[id as usize];
        let first = block.first as usize;
        let ops = &cache.ops[first..first + block.count as usize];
        let from_linear = core.eip;
        let left = run_ops(core, pins, ops);
        if core.attention || core.retired >= core.limit {
            return;
        }
        let number = match left {
            Left::To(number) => number,
            Left::Anywhere => {
                let Some(next) = Front::find_or_decode(core, cache, pins) else { return };
                id = next;
                continue;
            }
            Left::Look => return,
        };
        let linear = core.seg[CS].base.wrapping_add(core.eip);
        let link = cache.blocks[id as usize].links[number];
        if link.linear == linear && (link.epoch == core.epoch || link.epoch == core.page_epoch) {
            let next = &cache.blocks[link.block as usize];
            if next.code.generation() == next.generation && Front::fits(core, next.bytes) {
                id = link.block;
                continue;
            }
        }
        let from = id;
        let key = cache.blocks[from as usize].key;
        let Some(next) = Front::find_or_decode(core, cache, pins) else { return };
        // The cache may have been emptied to make room.
        if let Some(block) = cache.blocks.get_mut(from as usize).filter(|b| b.key == key) {
            // Same page: what led to the one leads to the other, whatever happens to the tables.
            let same_page = core.mode & mode::FLAT_CS != 0 && (from_linear ^ linear) >> 12 == 0;
            let epoch = if same_page { core.page_epoch } else { core.epoch };
            block.links[number] = Link { linear, epoch, block: next };
        }
        id = next;
    }
}

/// Runs instructions of one block from its start; EIP and the count of retired instructions are right afterwards.
#[inline(always)]
pub(crate) fn run_ops_once(core: &mut Core, pins: &mut Pins<'_>, ops: &[Op]) {
    run_ops(core, pins, ops);
}

#[inline(always)]
fn run_ops(core: &mut Core, pins: &mut Pins<'_>, ops: &[Op]) -> Left {
    let room = usize::try_from(core.limit - core.retired).unwrap_or(usize::MAX);
    let n = ops.len().min(room);
    core.stop_at = n as u32;
    for (i, op) in ops[..n].iter().enumerate() {
        core.index = i as u32;
        match (op.run)(core, pins, op) {
            Ok(Flow::Next) => {
                if core.attention {
                    return cut(core, ops, i + 1);
                }
            }
            Ok(flow) => {
                core.index = 0;
                core.retired += i as u64;
                return match flow {
                    Flow::Again => {
                        core.eip = core.this_eip(op);
                        Left::Look
                    }
                    Flow::Taken => {
                        core.retired += 1;
                        Left::To(1)
                    }
                    Flow::Fall => {
                        core.retired += 1;
                        Left::To(0)
                    }
                    _ => {
                        core.retired += 1;
                        Left::Anywhere
                    }
                };
            }
            Err(_) => return fault(core, pins, op, i),
        }
    }
    cut(core, ops, n)
}

/// The block ends, or is left, behind instruction `i - 1`; `i` is not 0.
#[inline(always)]
fn cut(core: &mut Core, ops: &[Op], i: usize) -> Left {
    core.index = 0;
    core.retired += i as u64;
    core.eip = core.next_eip(&ops[i - 1]);
    if i == ops.len() { Left::To(0) } else { Left::Look }
}

#[cold]
fn fault(core: &mut Core, pins: &mut Pins<'_>, op: &Op, i: usize) -> Left {
    core.index = 0;
    core.retired += i as u64;
    if !std::mem::take(&mut core.eip_exact) {
        core.eip = core.this_eip(op);
    }
    Front::fault(core, pins);
    Left::Look
}
