//! A sequencer program of our own: one command at a time from SCB page 0, in a layout that no driver has.
//!
//! | where | what |
//! | --- | --- |
//! | SRAM30 | doorbell: the host writes 1, the program clears it |
//! | SCB00-0f | command block |
//! | SCB10 | its length |
//! | SCB11 | SCSIID |
//! | SCB12, SCB13 | IDENTIFY message; queue tag, 0 for none |
//! | SCB14-17 | host address |
//! | SCB18-1a | bytes |
//! | SCB1b | DFCNTRL for the data: 39h in, 3dh out |
//! | SCB1c, SCB1d | status; FFh when it ended without one (nobody there, bus free too early) |

use slotone_aic7870::asm::assemble;

use super::Board;

pub(crate) const SOURCE: &str = "
idle:   jz  SRAM30, 0xff, idle
        clr SRAM30
        mvi SCB1d, 0xff
        mov SCSIID, SCB11
        mvi SCSISEQ, 0x48
select: jnz SSTAT0, 0x40, won
        jz  SSTAT1, 0x80, select
        clr SCSISEQ
        mvi SSTAT1, 0x88
        mvi SSTAT0, 0x10
        jmp done
won:    clr SCSISEQ
        mvi SXFRCTL0, 0x1a
        mvi SSTAT1, 0x08
        mvi SSTAT0, 0x40
phase:  jnz SSTAT1, 0x08, done
        jz  SSTAT1, 0x01, phase
        and ACCUM, SCSISIG, 0xe0
        mov SCSISIG, ACCUM
        je  ACCUM, 0xa0, msgout
        je  ACCUM, 0x80, command
        je  ACCUM, 0xc0, status
        je  ACCUM, 0xe0, msgin
        je  ACCUM, 0x40, data
        jz  ACCUM, 0xff, data
        mvi INTSTAT, 0xf1

msgout: jnz SCB13, 0xff, tagged
        mvi SSTAT1, 0x40
        mov SCSIDATL, SCB12
        jmp phase
tagged: mov SCSIDATL, SCB12
        call req
        mvi SCSIDATL, 0x20
        call req
        mvi SSTAT1, 0x40
        mov SCSIDATL, SCB13
        jmp phase

command: mov STCNT0, SCB10
        clr STCNT1
        clr STCNT2
        mvi DFCNTRL, 0x35
        mvi SINDEX, 0xa0
        mov ACCUM, SCB10
        mov DINDEX, ACCUM
push:   mov DFDAT, SINDIR
        dec DINDEX
        jnz DINDEX, 0xff, push
sent:   jnz SSTAT0, 0x04, cdone
        jz  SSTAT1, 0x10, sent
cdone:  clr DFCNTRL
        jmp phase

data:   mov HADDR0, SCB14
        mov HADDR1, SCB15
        mov HADDR2, SCB16
        mov HADDR3, SCB17
        mov HCNT0, SCB18
        mov HCNT1, SCB19
        mov HCNT2, SCB1a
        mov STCNT0, SCB18
        mov STCNT1, SCB19
        mov STCNT2, SCB1a
        mov DFCNTRL, SCB1b
more:   jnz SSTAT0, 0x01, moved
        jnz SSTAT1, 0x18, moved
        jmp more
moved:  jnz DFCNTRL, 0x04, stop
        jz  DFSTATUS, 0x01, moved
stop:   clr DFCNTRL
        mov SCB14, SHADDR0
        mov SCB15, SHADDR1
        mov SCB16, SHADDR2
        mov SCB17, SHADDR3
        mov SCB18, STCNT0
        mov SCB19, STCNT1
        mov SCB1a, STCNT2
wait:   jnz SSTAT1, 0x18, phase
        jz  SSTAT1, 0x01, wait
        ; more data than room: throw them away
        mvi SXFRCTL1, 0xa7
over:   jz  SSTAT1, 0x18, over
        mvi SXFRCTL1, 0x27
        jmp phase

status: mov SCB1c, SCSIDATL
        jmp phase

msgin:  mov ACCUM, SCSIBUSL
        jz  ACCUM, 0xff, complete
        je  ACCUM, 0x04, disconnect
        je  ACCUM, 0x20, tag
        mov ALLZEROS, SCSIDATL
        jmp phase
tag:    mov ALLZEROS, SCSIDATL
        call req
        mov SRAM31, SCSIDATL
        jmp phase
complete: clr SCB1d
        mov ALLZEROS, SCSIDATL
free:   jz  SSTAT1, 0x08, free
done:   mvi SSTAT1, 0x08
        mvi INTSTAT, 0x02
        jmp idle
disconnect: mov ALLZEROS, SCSIDATL
free2:  jz  SSTAT1, 0x08, free2
        mvi SSTAT1, 0x08
        mvi SCSISEQ, 0x10
again:  jz  SSTAT0, 0x20, again
        mov SRAM32, SELID
        clr SCSISEQ
        mvi SXFRCTL0, 0x1a
        mvi SSTAT0, 0x20
        jmp phase

req:    jz  SSTAT1, 0x01, req
        ret
";

pub(crate) fn words() -> Vec<u32> {
    assemble(SOURCE).expect("our own program")
}

/// Loads the program and starts it.
pub(crate) fn start(board: &mut Board) {
    board.set(0x87, 0x04);
    board.load(&words());
    board.set(0x02, 0x27);
    board.set(0x60, 0x10);
    board.set(0x87, 0x02);
}

/// What a command needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) id: u8,
    pub(crate) cdb: &'a [u8],
    pub(crate) address: u32,
    pub(crate) len: u32,
    pub(crate) out: bool,
    pub(crate) tag: u8,
    pub(crate) disconnect: bool,
}

/// Puts a command into SCB page 0 and rings.
pub(crate) fn begin(board: &mut Board, work: Work<'_>) {
    board.set(0x90, 0);
    board.set_all(0xa0, work.cdb);
    board.set(0xb0, work.cdb.len() as u8);
    board.set(0xb1, work.id << 4 | 7);
    board.set(0xb2, if work.disconnect { 0xc0 } else { 0x80 });
    board.set(0xb3, work.tag);
    board.set_all(0xb4, &work.address.to_le_bytes());
    board.set_all(0xb8, &work.len.to_le_bytes()[..3]);
    board.set(0xbb, if work.out { 0x3d } else { 0x39 });
    board.set(0xbc, 0xee);
    board.set(0x30, 1);
}

/// Takes the result: status if there was one, and bytes that did not move.
pub(crate) fn end(board: &mut Board) -> (Option<u8>, u32) {
    board.wait();
    let cause = board.get(0x91);
    assert_eq!(cause & 0x0f, 2, "INTSTAT {cause:02x}");
    board.set(0x92, 2);
    let left = board.get_all(0xb8, 3);
    let left = u32::from_le_bytes([left[0], left[1], left[2], 0]);
    let status = board.get(0xbc);
    ((board.get(0xbd) == 0).then_some(status), left)
}

pub(crate) fn run(board: &mut Board, work: Work<'_>) -> (Option<u8>, u32) {
    begin(board, work);
    end(board)
}
