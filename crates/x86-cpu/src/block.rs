//! Decoded instructions and the cache of blocks of them: what the front hands to an engine.

use crate::fast_mem::CodePage;
use crate::state::{Core, Fallible, Pins};
use slotone_bus::mem::PAGE_SIZE;

/// How a handler leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// On to the next instruction of the block.
    Next,
    /// On to the one behind the next: this one did its work too.
    Skip,
    /// A direct branch was taken: EIP is its target, [`Op::link`] where its block is noted.
    Taken,
    /// The block ends here; EIP is that of the instruction behind this one.
    Fall,
    /// EIP is somewhere else, or the mode may have changed.
    Jump,
    /// A REP instruction stopped between iterations: EIP stays at it.
    Again,
}

/// What an instruction does. The token of an error leads to `Core::fault`.
pub(crate) type Handler = fn(&mut Core, &mut Pins<'_>, &Op) -> Fallible<Flow>;

/// Operand size is 32 bits.
pub(crate) const O32: u8 = 1;
/// Address size is 32 bits.
pub(crate) const A32: u8 = 2;
/// LOCK.
pub(crate) const LOCK: u8 = 4;
/// F3h.
pub(crate) const REP: u8 = 8;
/// F2h.
pub(crate) const REPNE: u8 = 16;

/// The index of an absent base or index register: one that is always zero.
pub(crate) const NO_REG: u8 = 8;

/// One decoded instruction; none lies on two lines of the host's cache.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(crate) struct Op {
    pub(crate) run: Handler,
    /// Immediate, or the displacement of a branch.
    pub(crate) imm: u32,
    /// Displacement of the memory operand; the second immediate of ENTER and far pointers.
    pub(crate) disp: u32,
    /// Offset of the next instruction from the start of the block.
    pub(crate) end: u16,
    pub(crate) len: u8,
    /// ModRM.reg; for byte registers bit 3 set for AH to BH, bits 2:0 the register they are in.
    pub(crate) reg: u8,
    /// ModRM.rm if that is a register, coded like `reg`.
    pub(crate) rm: u8,
    pub(crate) base: u8,
    pub(crate) index: u8,
    pub(crate) scale: u8,
    pub(crate) seg: u8,
    pub(crate) flags: u8,
    pub(crate) modrm: u8,
    pub(crate) opcode: u8,
    /// Direct branches: where the block at the target is noted, an index into [`BlockCache::links`].
    pub(crate) link: u32,
}

const _: () = assert!(size_of::<Op>() == 32 && size_of::<Block>() == 64);

impl Op {
    #[inline(always)]
    pub(crate) fn o32(&self) -> bool {
        self.flags & O32 != 0
    }

    #[inline(always)]
    pub(crate) fn a32(&self) -> bool {
        self.flags & A32 != 0
    }

    /// The mask of addresses of this size.
    #[inline(always)]
    pub(crate) fn address_mask(&self) -> u32 {
        if self.a32() { u32::MAX } else { 0xFFFF }
    }

    pub(crate) fn is_memory(&self) -> bool {
        self.modrm < 0xC0
    }
}

/// Where a block goes on, once found.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    /// Linear address that it was found for.
    pub(crate) linear: u32,
    /// [`Core::epoch`](crate::state::Core::epoch) when it was found; [`Core::global_epoch`](crate::state::Core::global_epoch)
    /// if the target is on a global page, [`Core::page_epoch`](crate::state::Core::page_epoch) if it is on the block's own
    /// page; 0 for none.
    pub(crate) epoch: u32,
    pub(crate) block: u32,
}

const NO_LINK: Link = Link { linear: 0, epoch: 0, block: 0 };

/// A run of instructions on one page. Going from one to the next touches one line of the host's cache.
#[repr(align(64))]
pub(crate) struct Block {
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// Bytes of code.
    pub(crate) bytes: u32,
    /// Where they are kept, an index into [`BlockCache::code`].
    code_at: u32,
    pub(crate) generation: u32,
    pub(crate) code: CodePage,
    /// [`Core::page_epoch`](crate::state::Core::page_epoch) when `code` was last known to be at the key's address.
    pub(crate) page_epoch: u32,
    /// Where the block behind this one is noted, an index into [`BlockCache::links`].
    pub(crate) fall: u32,
    /// Key: physical address and mode.
    pub(crate) key: u64,
    /// Next in the hash chain, or [`NO_BLOCK`].
    next: u32,
}

pub(crate) const NO_BLOCK: u32 = u32::MAX;
const BUCKETS: usize = 1 << 16;
/// All is dropped when there are so many instructions.
const MAX_OPS: usize = 2 << 20;

const JUMPS: usize = 1 << 14;

#[derive(Clone, Copy)]
struct Jump {
    linear: u32,
    epoch: u32,
    mode: u16,
    block: u32,
}

const NO_JUMP: Jump = Jump { linear: 0, epoch: 0, mode: 0, block: 0 };

/// An instruction that lies on two pages. It is no block: whoever comes to it asks for both translations.
pub(crate) struct Straddler {
    /// Key of the first page, as of a block.
    pub(crate) key: u64,
    /// Physical frame of the second page.
    pub(crate) second: u32,
    pub(crate) pages: [CodePage; 2],
    pub(crate) generations: [u32; 2],
    pub(crate) page_epoch: u32,
    pub(crate) op: Op,
}

const STRADDLERS: usize = 1 << 10;

/// All blocks decoded so far.
pub(crate) struct BlockCache {
    pub(crate) blocks: Vec<Block>,
    pub(crate) ops: Vec<Op>,
    pub(crate) links: Vec<Link>,
    /// The bytes that blocks were decoded from.
    code: Vec<u8>,
    /// How often everything was dropped.
    pub(crate) clears: u64,
    buckets: Box<[u32]>,
    jumps: Box<[Jump]>,
    straddlers: Box<[Option<Straddler>]>,
}

fn bucket(key: u64) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) as usize & (BUCKETS - 1)
}

#[inline(always)]
fn jump_slot(linear: u32) -> usize {
    (linear ^ linear >> 14) as usize & (JUMPS - 1)
}

impl BlockCache {
    pub(crate) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            ops: Vec::new(),
            links: Vec::new(),
            code: Vec::new(),
            clears: 0,
            buckets: vec![NO_BLOCK; BUCKETS].into(),
            jumps: vec![NO_JUMP; JUMPS].into(),
            straddlers: (0..STRADDLERS).map(|_| None).collect(),
        }
    }

    /// A place to note where a branch leads.
    pub(crate) fn new_link(&mut self) -> u32 {
        self.links.push(NO_LINK);
        self.links.len() as u32 - 1
    }

    pub(crate) fn key(physical: u64, mode: u16) -> u64 {
        physical << 16 | u64::from(mode)
    }

    /// The block of a key, stale or not.
    pub(crate) fn find(&self, key: u64) -> Option<u32> {
        let mut i = self.buckets[bucket(key)];
        while i != NO_BLOCK {
            let b = &self.blocks[i as usize];
            if b.key == key {
                return Some(i);
            }
            i = b.next;
        }
        None
    }

    /// Whether the block is what its page holds. One whose page was written to is good again if its own bytes are
    /// the same: pages that hold code and data would be decoded over and over.
    pub(crate) fn check(&mut self, core: &mut Core, id: u32) -> bool {
        let block = &mut self.blocks[id as usize];
        let generation = block.code.generation();
        if generation == block.generation {
            return true;
        }
        let physical = block.key >> 16;
        let code = &self.code[block.code_at as usize..][..block.bytes as usize];
        let same = block.code.holds(physical as usize % PAGE_SIZE, code);
        if same {
            core.mark_code(block.code.page(), physical, code.len());
            block.generation = generation;
        }
        same
    }

    /// Adds a block whose instructions are the last `count` of `ops`, decoded from `bytes`. One of the same key is
    /// replaced.
    pub(crate) fn insert(
        &mut self,
        key: u64,
        count: u32,
        bytes: &[u8],
        code: CodePage,
        page_epoch: u32,
    ) -> u32 {
        let code_at = self.code.len() as u32;
        self.code.extend_from_slice(bytes);
        let bytes = bytes.len() as u32;
        let fall = self.new_link();
        let first = self.ops.len() as u32 - count;
        let head = bucket(key);
        let generation = code.generation();
        let mut block = Block {
            first,
            count,
            bytes,
            code_at,
            generation,
            code,
            page_epoch,
            fall,
            key,
            next: self.buckets[head],
        };
        let mut i = block.next;
        while i != NO_BLOCK {
            let b = &mut self.blocks[i as usize];
            if b.key == key {
                block.next = b.next;
                *b = block;
                return i;
            }
            i = b.next;
        }
        let at = self.blocks.len() as u32;
        self.blocks.push(block);
        self.buckets[head] = at;
        at
    }

    /// Whether [`BlockCache::clear`] is due.
    pub(crate) fn full(&self) -> bool {
        self.ops.len() > MAX_OPS
    }

    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.ops.clear();
        self.links.clear();
        self.code.clear();
        self.clears += 1;
        self.buckets.fill(NO_BLOCK);
        self.jumps.fill(NO_JUMP);
        self.straddlers.fill_with(|| None);
    }

    /// The instruction on two pages that was decoded at this key, if neither was written to.
    pub(crate) fn straddler(&self, key: u64, page_epoch: u32) -> Option<&Straddler> {
        let s = self.straddlers[bucket(key) % STRADDLERS].as_ref()?;
        let valid = s.key == key
            && s.page_epoch == page_epoch
            && s.pages[0].generation() == s.generations[0]
            && s.pages[1].generation() == s.generations[1];
        valid.then_some(s)
    }

    pub(crate) fn remember_straddler(&mut self, straddler: Straddler) {
        let at = bucket(straddler.key) % STRADDLERS;
        self.straddlers[at] = Some(straddler);
    }

    /// The block last seen at a linear address, valid or not, and the epoch it was seen in, or that of global pages.
    #[inline(always)]
    pub(crate) fn jump(&self, linear: u32, mode: u16) -> Option<(u32, u32)> {
        let j = &self.jumps[jump_slot(linear)];
        (j.linear == linear && j.mode == mode && j.epoch != 0).then_some((j.block, j.epoch))
    }

    pub(crate) fn remember_jump(&mut self, linear: u32, epoch: u32, mode: u16, block: u32) {
        self.jumps[jump_slot(linear)] = Jump { linear, epoch, mode, block };
    }
}
