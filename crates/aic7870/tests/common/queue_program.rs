//! A second program of our own, unlike any driver's and unlike the first: all 16 SCB pages hold commands at a time, the hardware queues
//! carry their numbers (which are the queue tags), addresses lie in them most significant byte first, command blocks go by hand, and small
//! transfers go byte by byte through SCSIDATL while large ones go by DMA. Current and saved pointers are kept apart.
//!
//! | where | what |
//! | --- | --- |
//! | QINFIFO, QOUTFIFO | pages to be started; pages that are done |
//! | SCB00, SCB01 | status; FFh when there is none. 1: out, 2: byte by byte |
//! | SCB02, SCB03 | length of the command block; SCSIID |
//! | SCB04-07, SCB08-0a | host address and count, most significant byte first: the saved pointers |
//! | SCB0b | IDENTIFY message |
//! | SCB10-1b | command block |
//! | SRAM20, SRAM21 | a page whose selection gave way to a reselection |
//! | SRAM28-2b, SRAM2c-2e | the current pointers |

use slotone_aic7870::asm::assemble;

use super::Board;

pub(crate) const SOURCE: &str = "
idle:   mvi SCSISEQ, 0x10
wait:   jnz SSTAT0, 0x20, resel
        jnz SRAM20, 0xff, again
        jnz QINCNT, 0xff, start
        jmp wait
again:  clr SRAM20
        mov SCBPTR, SRAM21
        jmp begin
start:  mov SCBPTR, QINFIFO
        mvi SCB00, 0xff
begin:  mov SCSIID, SCB03
        mvi SCSISEQ, 0x58
select: jnz SSTAT0, 0x40, won
        jnz SSTAT0, 0x20, lost
        jz  SSTAT1, 0x80, select
        clr SCSISEQ
        mvi SSTAT1, 0x88
        mvi SSTAT0, 0x10
        jmp done
lost:   mvi SRAM20, 1
        mov SRAM21, SCBPTR
        mvi SCSISEQ, 0x10
resel:  mvi SXFRCTL0, 0x1a
        mvi SSTAT1, 0x08
        mvi SSTAT0, 0x20
        jmp phase
won:    mvi SCSISEQ, 0x10
        mvi SXFRCTL0, 0x1a
        mvi SSTAT1, 0x08
        mvi SSTAT0, 0x40
        call restore
phase:  jnz SSTAT1, 0x08, free
        jz  SSTAT1, 0x01, phase
        and ACCUM, SCSISIG, 0xe0
        mov SCSISIG, ACCUM
        shr SINDEX, ACCUM, 5
        shl SINDEX, SINDEX, 1
        mov ACCUM, SINDEX
        clr SINDEX
        add SEQADDR0, SEQADDR0, A
        jmp dataout
        nop
        nop
        nop
        jmp datain
        nop
        nop
        nop
        jmp command
        jmp bad
        jmp msgout
        jmp bad
        jmp status
        jmp bad
        jmp msgin
bad:    mvi INTSTAT, 0xe1
        jmp phase

msgout: mov SCSIDATL, SCB0b
        call req
        mvi SCSIDATL, 0x20
        call req
        mvi SSTAT1, 0x40
        mov SCSIDATL, SCBPTR
        jmp phase

command: mvi SINDEX, 0xb0
        mov DINDEX, SCB02
byte:   mov SCSIDATL, SINDIR
        dec DINDEX
        jz  DINDEX, 0xff, phase
        call req
        jmp byte

status: mov SCB00, SCSIDATL
        jmp phase

msgin:  mov ACCUM, SCSIBUSL
        jz  ACCUM, 0xff, complete
        je  ACCUM, 0x02, save
        je  ACCUM, 0x20, tag
take:   mov ALLZEROS, SCSIDATL
        jmp phase
tag:    mov ALLZEROS, SCSIDATL
        call req
        mov SCBPTR, SCSIDATL
        call restore
        jmp phase
save:   call keep
        jmp take
complete: call keep
        mov ALLZEROS, SCSIDATL
bus:    jz  SSTAT1, 0x08, bus
        mvi SSTAT1, 0x08
done:   mov QOUTFIFO, SCBPTR
        mvi INTSTAT, 0x02
        jmp idle
free:   mvi SSTAT1, 0x08
        jmp idle

keep:   mvi SINDEX, 0x28
        mvi DINDEX, 0xa4
        jmp seven
restore: mvi SINDEX, 0xa4
        mvi DINDEX, 0x28
seven:  mvi ACCUM, 7
more:   mov DINDIR, SINDIR
        dec ACCUM
        jnz ACCUM, 0xff, more
        ret

counts: mov HADDR3, SRAM28
        mov HADDR2, SRAM29
        mov HADDR1, SRAM2a
        mov HADDR0, SRAM2b ret

datain: jnz SCB01, 0x02, slowin
        mvi SRAM30, 0x39
        jmp dma
dataout: jnz SCB01, 0x02, slowout
        mvi SRAM30, 0x3d
dma:    call counts
        mov HCNT2, SRAM2c
        mov HCNT1, SRAM2d
        mov HCNT0, SRAM2e
        mov STCNT2, SRAM2c
        mov STCNT1, SRAM2d
        mov STCNT0, SRAM2e
        mov DFCNTRL, SRAM30
moves:  jnz SSTAT0, 0x01, moved
        jz  SSTAT1, 0x18, moves
moved:  jnz SRAM30, 0x04, stop
        jz  DFSTATUS, 0x01, moved
stop:   clr DFCNTRL
        mov SRAM28, SHADDR3
        mov SRAM29, SHADDR2
        mov SRAM2a, SHADDR1
        mov SRAM2b, SHADDR0
        mov SRAM2c, STCNT2
        mov SRAM2d, STCNT1
        mov SRAM2e, STCNT0
        jmp phase

slowin: call one
        mvi DFCNTRL, 0x01
        mov DFDAT, SCSIDATL
        mvi DFCNTRL, 0x0a
in:     jz  DFSTATUS, 0x08, in
        clr DFCNTRL
        jmp phase
slowout: call one
        mvi DFCNTRL, 0x0d
out:    jz  DFSTATUS, 0x08, out
        clr DFCNTRL
        mov SCSIDATL, DFDAT
        jmp phase
one:    call counts
        clr HCNT2
        clr HCNT1
        mvi HCNT0, 1
        inc SRAM2b
        clr ACCUM
        adc SRAM2a, SRAM2a, A
        adc SRAM29, SRAM29, A
        adc SRAM28, SRAM28, A
        dec SRAM2e
        mvi ACCUM, 0xff
        adc SRAM2d, SRAM2d, A
        adc SRAM2c, SRAM2c, A ret

req:    jz  SSTAT1, 0x01, req
        ret
";

/// Loads the program and starts it.
pub(crate) fn start(board: &mut Board) {
    board.set(0x87, 0x04);
    board.load(&assemble(SOURCE).expect("our own program"));
    board.set(0x02, 0x27);
    board.set(0x60, 0x10);
    board.set(0x87, 0x02);
}

/// A command in a page.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) id: u8,
    pub(crate) cdb: Vec<u8>,
    pub(crate) address: u32,
    pub(crate) len: u32,
    pub(crate) out: bool,
    pub(crate) slow: bool,
}

/// Fills page `page` and queues it. The host stops the sequencer for it: SCBPTR is the program's.
pub(crate) fn queue(board: &mut Board, page: u8, work: &Work) {
    board.set(0x87, 0x06);
    assert_eq!(board.get(0x87) & 4, 4);
    let old = board.get(0x90);
    board.set(0x90, page);
    board.set(0xa1, u8::from(work.out) | u8::from(work.slow) << 1);
    board.set(0xa2, work.cdb.len() as u8);
    board.set(0xa3, work.id << 4 | 7);
    board.set_all(0xa4, &work.address.to_be_bytes());
    board.set_all(0xa8, &work.len.to_be_bytes()[1..]);
    board.set(0xab, 0xc0);
    board.set_all(0xb0, &work.cdb);
    board.set(0x90, old);
    board.set(0x9b, page);
    if board.get(0x91) & 0x0d == 0 {
        board.set(0x87, 0x02);
    }
}

/// Serves the interrupt: pages that are done, with status (`None`: it ended without one) and bytes that did not move.
pub(crate) fn done(board: &mut Board) -> Vec<(u8, Option<u8>, u32)> {
    board.wait();
    let cause = board.get(0x91);
    assert_eq!(cause & 0x0f, 2, "INTSTAT {cause:02x}");
    board.set(0x92, 2);
    board.set(0x87, 0x06);
    assert_eq!(board.get(0x87) & 4, 4);
    let old = board.get(0x90);
    let mut done = Vec::new();
    while board.get(0x9e) > 0 {
        let page = board.get(0x9d);
        board.set(0x90, page);
        let status = board.get(0xa0);
        let left = board.get_all(0xa8, 3);
        let left = u32::from_be_bytes([0, left[0], left[1], left[2]]);
        done.push((page, (status != 0xff).then_some(status), left));
    }
    board.set(0x90, old);
    board.set(0x87, 0x02);
    done
}
