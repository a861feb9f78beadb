//! A small emitter of 16-bit code: bytes, labels and the fix-ups between them.
//!
//! The instructions are written as bytes with their mnemonics as names; the golden listing in `tests/`, made by an
//! independent disassembler, shows what they mean.

/// A place in the segment that code refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label(usize);

#[derive(Debug, Clone, Copy)]
enum Fixup {
    Relative8,
    Relative16,
    Absolute16,
}

/// One segment of code.
#[derive(Debug)]
pub(crate) struct Emitter {
    bytes: Vec<u8>,
    at: usize,
    labels: Vec<Option<u16>>,
    fixups: Vec<(usize, Label, Fixup)>,
}

/// Conditions of Jcc, the low nibble of the opcode.
#[derive(Debug, Clone, Copy)]
pub(crate) enum If {
    Below = 2,
    NotBelow = 3,
    Zero = 4,
    NotZero = 5,
}

macro_rules! instructions {
    ($($name:ident = $bytes:expr;)*) => { $(pub(crate) fn $name(&mut self) { self.db(&$bytes); })* };
}

impl Emitter {
    /// A segment of `size` bytes filled with `fill`.
    pub(crate) fn new(size: usize, fill: u8) -> Self {
        Self { bytes: vec![fill; size], at: 0, labels: Vec::new(), fixups: Vec::new() }
    }

    /// Goes on at `offset`.
    pub(crate) fn org(&mut self, offset: u16) {
        self.at = usize::from(offset);
    }

    /// Offset of the next byte.
    pub(crate) fn here(&self) -> u16 {
        self.at as u16
    }

    pub(crate) fn db(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    pub(crate) fn dw(&mut self, value: u16) {
        self.db(&value.to_le_bytes());
    }

    /// A label to be bound later.
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    pub(crate) fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.here());
    }

    /// A label here.
    pub(crate) fn mark(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// Offset of a bound label.
    pub(crate) fn offset(&self, label: Label) -> u16 {
        self.labels[label.0].expect("every label of the ROM is bound before it is asked for")
    }

    fn fix(&mut self, label: Label, kind: Fixup) {
        self.fixups.push((self.at, label, kind));
        match kind {
            Fixup::Relative8 => self.db(&[0]),
            Fixup::Relative16 | Fixup::Absolute16 => self.db(&[0, 0]),
        }
    }

    pub(crate) fn jmp(&mut self, target: Label) {
        self.db(&[0xE9]);
        self.fix(target, Fixup::Relative16);
    }

    pub(crate) fn jmp_short(&mut self, target: Label) {
        self.db(&[0xEB]);
        self.fix(target, Fixup::Relative8);
    }

    pub(crate) fn j(&mut self, condition: If, target: Label) {
        self.db(&[0x70 | condition as u8]);
        self.fix(target, Fixup::Relative8);
    }

    pub(crate) fn loop_(&mut self, target: Label) {
        self.db(&[0xE2]);
        self.fix(target, Fixup::Relative8);
    }

    pub(crate) fn call(&mut self, target: Label) {
        self.db(&[0xE8]);
        self.fix(target, Fixup::Relative16);
    }

    /// `push offset label`
    pub(crate) fn push_offset(&mut self, label: Label) {
        self.db(&[0x68]);
        self.fix(label, Fixup::Absolute16);
    }

    pub(crate) fn jmp_far(&mut self, segment: u16, offset: u16) {
        self.db(&[0xEA]);
        self.dw(offset);
        self.dw(segment);
    }

    pub(crate) fn push_word(&mut self, value: u16) {
        self.db(&[0x68]);
        self.dw(value);
    }

    pub(crate) fn mov_ax(&mut self, value: u16) {
        self.db(&[0xB8]);
        self.dw(value);
    }

    pub(crate) fn mov_cx(&mut self, value: u16) {
        self.db(&[0xB9]);
        self.dw(value);
    }

    pub(crate) fn mov_dx(&mut self, value: u16) {
        self.db(&[0xBA]);
        self.dw(value);
    }

    pub(crate) fn mov_sp(&mut self, value: u16) {
        self.db(&[0xBC]);
        self.dw(value);
    }

    pub(crate) fn mov_al(&mut self, value: u8) {
        self.db(&[0xB0, value]);
    }

    pub(crate) fn mov_ah(&mut self, value: u8) {
        self.db(&[0xB4, value]);
    }

    pub(crate) fn int(&mut self, vector: u8) {
        self.db(&[0xCD, vector]);
    }

    pub(crate) fn in_al(&mut self, port: u8) {
        self.db(&[0xE4, port]);
    }

    pub(crate) fn out_al(&mut self, port: u8) {
        self.db(&[0xE6, port]);
    }

    pub(crate) fn add_sp(&mut self, bytes: u8) {
        self.db(&[0x83, 0xC4, bytes]);
    }

    /// `mov ax, [bp + offset]`
    pub(crate) fn mov_ax_bp(&mut self, offset: usize) {
        self.db(&[0x8B, 0x46, offset as u8]);
    }

    /// `mov bx, [bp + offset]`
    pub(crate) fn mov_bx_bp(&mut self, offset: usize) {
        self.db(&[0x8B, 0x5E, offset as u8]);
    }

    /// `mov di, [bp + offset]`
    pub(crate) fn mov_di_bp(&mut self, offset: usize) {
        self.db(&[0x8B, 0x7E, offset as u8]);
    }

    /// `mov es, [bp + offset]`
    pub(crate) fn mov_es_bp(&mut self, offset: usize) {
        self.db(&[0x8E, 0x46, offset as u8]);
    }

    /// `mov [bp + offset], ax`
    pub(crate) fn mov_bp_ax(&mut self, offset: usize) {
        self.db(&[0x89, 0x46, offset as u8]);
    }

    /// `call far [bp + offset]`
    pub(crate) fn call_far_bp(&mut self, offset: usize) {
        self.db(&[0xFF, 0x5E, offset as u8]);
    }

    instructions! {
        cli = [0xFA];
        sti = [0xFB];
        cld = [0xFC];
        stc = [0xF9];
        hlt = [0xF4];
        iret = [0xCF];
        retf = [0xCB];
        pushf = [0x9C];
        pushad = [0x66, 0x60];
        popad = [0x66, 0x61];
        push_dword_0 = [0x66, 0x6A, 0x00];
        push_cs = [0x0E];
        push_ds = [0x1E];
        pop_ds = [0x1F];
        push_es = [0x06];
        pop_es = [0x07];
        push_ax = [0x50];
        pop_ax = [0x58];
        push_dx = [0x52];
        pop_dx = [0x5A];
        mov_bp_sp = [0x89, 0xE5];
        mov_ds_ax = [0x8E, 0xD8];
        mov_ss_ax = [0x8E, 0xD0];
        dec_ax = [0x48];
        test_ax_ax = [0x85, 0xC0];
        xor_ax_ax = [0x31, 0xC0];
        out_dx_al = [0xEE];
    }

    /// The finished segment.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        for (at, label, kind) in std::mem::take(&mut self.fixups) {
            let target = i32::from(self.offset(label));
            match kind {
                Fixup::Relative8 => {
                    let distance = target - (at as i32 + 1);
                    self.bytes[at] = i8::try_from(distance).expect("short jumps of the ROM reach") as u8;
                }
                Fixup::Relative16 => {
                    let distance = (target - (at as i32 + 2)) as u16;
                    self.bytes[at..at + 2].copy_from_slice(&distance.to_le_bytes());
                }
                Fixup::Absolute16 => self.bytes[at..at + 2].copy_from_slice(&(target as u16).to_le_bytes()),
            }
        }
        self.bytes
    }
}
