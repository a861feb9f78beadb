//! The register frame a stub pushes onto the guest's stack before it traps.
//!
//! From the stack pointer up: the answer to the stub and the state of a waiting service, all zero at first, ES, DS, the registers as PUSHAD
//! leaves them, the service number, and the caller's IRET image. A service changes registers by changing the
//! frame; carry and zero go into the flags of the IRET image. A service that waits finds its own state again in
//! the frame, so services nest like the interrupts that call them and nothing is kept outside guest memory.

use crate::initiator::{Initiator, InitiatorExt, Registers};

/// Bytes from the stack pointer to the end of the IRET image.
pub(crate) const FRAME_BYTES: usize = 76;
/// Bytes of state for a waiting service.
pub(crate) const LOCAL_BYTES: usize = 28;

/// Offsets in the frame, shared with the stubs.
pub(crate) mod offset {
    pub(crate) const ANSWER: usize = 0;
    pub(crate) const PHASE: usize = 2;
    pub(crate) const LOCALS: usize = 4;
    pub(crate) const ES: usize = 32;
    pub(crate) const DS: usize = 34;
    pub(crate) const EDI: usize = 36;
    pub(crate) const ESI: usize = 40;
    pub(crate) const EBP: usize = 44;
    pub(crate) const EBX: usize = 52;
    pub(crate) const EDX: usize = 56;
    pub(crate) const ECX: usize = 60;
    pub(crate) const EAX: usize = 64;
    pub(crate) const SERVICE: usize = 68;
    pub(crate) const IP: usize = 70;
    pub(crate) const CS: usize = 72;
    pub(crate) const FLAGS: usize = 74;
}

/// What the stub does next: the answer word of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Outcome {
    /// The service is complete; the stub pops the frame and returns to its caller.
    Done = 0,
    /// The stub halts until the next interrupt and traps again.
    Wait = 1,
    /// The stub spins for a few microseconds and traps again: no interrupt would end a HLT.
    Spin = 2,
    /// The stub calls the far pointer in the locals (AX, BX, ES and DI from behind it), and traps again.
    Call = 3,
    /// As `Call`, but the callee ends with IRET.
    Interrupt = 4,
}

/// A decoded frame.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    bytes: [u8; FRAME_BYTES],
    linear: u32,
}

macro_rules! halves {
    ($($low:ident $high:ident $set_low:ident $set_high:ident $offset:ident;)*) => {
        $(
            pub(crate) fn $low(&self) -> u8 { self.bytes[offset::$offset] }
            pub(crate) fn $high(&self) -> u8 { self.bytes[offset::$offset + 1] }
            #[allow(dead_code)]
            pub(crate) fn $set_low(&mut self, value: u8) { self.bytes[offset::$offset] = value; }
            #[allow(dead_code)]
            pub(crate) fn $set_high(&mut self, value: u8) { self.bytes[offset::$offset + 1] = value; }
        )*
    };
}

macro_rules! words {
    ($($get:ident $set:ident $offset:ident;)*) => {
        $(
            #[allow(dead_code)]
            pub(crate) fn $get(&self) -> u16 { self.word(offset::$offset) }
            #[allow(dead_code)]
            pub(crate) fn $set(&mut self, value: u16) { self.set_word(offset::$offset, value); }
        )*
    };
}

macro_rules! doubles {
    ($($get:ident $set:ident $offset:ident;)*) => {
        $(
            #[allow(dead_code)]
            pub(crate) fn $get(&self) -> u32 { self.double(offset::$offset) }
            #[allow(dead_code)]
            pub(crate) fn $set(&mut self, value: u32) { self.set_double(offset::$offset, value); }
        )*
    };
}

const CARRY: u16 = 1;
const ZERO: u16 = 0x40;

impl Frame {
    /// Reads the frame of a trap that a stub of ours made; `None` if the OUT came from anywhere else.
    pub(crate) fn read(bus: &mut dyn Initiator) -> Option<Self> {
        let registers = bus.registers();
        // Real mode or virtual-8086 mode, from the ROM segments.
        let sixteen_bit = registers.cr0 & 1 == 0 || registers.eflags & 1 << 17 != 0;
        if !sixteen_bit || !matches!(registers.cs, 0xF000 | 0xC000) {
            return None;
        }
        let linear = Self::address(&registers);
        let mut bytes = [0; FRAME_BYTES];
        bus.mem_read(linear, &mut bytes).ok()?;
        Some(Self { bytes, linear })
    }

    fn address(registers: &Registers) -> u32 {
        registers.ss_base.wrapping_add(registers.esp & 0xFFFF)
    }

    /// Writes the frame back with the answer.
    pub(crate) fn write(&mut self, bus: &mut dyn Initiator, outcome: Outcome) {
        self.set_word(offset::ANSWER, outcome as u16);
        bus.put(self.linear, &self.bytes);
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn set_word(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn double(&self, at: usize) -> u32 {
        u32::from(self.word(at)) | u32::from(self.word(at + 2)) << 16
    }

    fn set_double(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    halves! {
        al ah set_al set_ah EAX;
        bl bh set_bl set_bh EBX;
        cl ch set_cl set_ch ECX;
        dl dh set_dl set_dh EDX;
    }

    words! {
        ax set_ax EAX;
        bx set_bx EBX;
        cx set_cx ECX;
        dx set_dx EDX;
        si set_si ESI;
        di set_di EDI;
        bp set_bp EBP;
        ds set_ds DS;
        es set_es ES;
        service set_service SERVICE;
        phase set_phase PHASE;
        ip set_ip IP;
        cs set_cs CS;
        flags set_flags FLAGS;
    }

    doubles! {
        eax set_eax EAX;
        ebx set_ebx EBX;
        ecx set_ecx ECX;
        edx set_edx EDX;
        esi set_esi ESI;
        edi set_edi EDI;
    }

    /// Word `index` of the locals, 0 to 13.
    pub(crate) fn local16(&self, index: usize) -> u16 {
        self.word(offset::LOCALS + 2 * (index % (LOCAL_BYTES / 2)))
    }

    pub(crate) fn set_local16(&mut self, index: usize, value: u16) {
        self.set_word(offset::LOCALS + 2 * (index % (LOCAL_BYTES / 2)), value);
    }

    /// Double word `index` of the locals, 0 to 6.
    pub(crate) fn local32(&self, index: usize) -> u32 {
        self.double(offset::LOCALS + 4 * (index % (LOCAL_BYTES / 4)))
    }

    pub(crate) fn set_local32(&mut self, index: usize, value: u32) {
        self.set_double(offset::LOCALS + 4 * (index % (LOCAL_BYTES / 4)), value);
    }

    pub(crate) fn set_carry(&mut self, carry: bool) {
        let flags = self.flags();
        self.set_flags(if carry { flags | CARRY } else { flags & !CARRY });
    }

    pub(crate) fn set_zero(&mut self, zero: bool) {
        let flags = self.flags();
        self.set_flags(if zero { flags | ZERO } else { flags & !ZERO });
    }

    /// Linear address of ES:`offset`.
    pub(crate) fn at_es(&self, offset: u16) -> u32 {
        far(self.es(), offset)
    }

    /// Linear address of DS:`offset`.
    pub(crate) fn at_ds(&self, offset: u16) -> u32 {
        far(self.ds(), offset)
    }

    /// Arranges for [`Outcome::Call`] or [`Outcome::Interrupt`].
    pub(crate) fn call(&mut self, segment: u16, offset: u16, ax: u16, bx: u16, es: u16, di: u16) {
        for (index, word) in [offset, segment, ax, bx, es, di].into_iter().enumerate() {
            self.set_local16(index, word);
        }
    }
}

/// Linear address of a real-mode pointer.
pub(crate) fn far(segment: u16, offset: u16) -> u32 {
    u32::from(segment) * 16 + u32::from(offset)
}
