//! Register names and bits as Adaptec's data books and the drivers that quote them print them.

macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident = $address:literal;)*) => {
        $($(#[$doc])* pub const $name: u8 = $address;)*

        /// The name of the register at `address`; scratch RAM is `SRAMxx`, the SCB window `SCBxx`.
        pub fn name(address: u8) -> String {
            match address {
                $($address => stringify!($name).to_string(),)*
                0x20..=0x5f => format!("SRAM{address:02x}"),
                0xa0..=0xbf => format!("SCB{:02x}", address - 0xa0),
                _ => format!("R{address:02x}"),
            }
        }

        /// The address of a register by its name, as [`name`] prints it, or by that of its write side: CLRSINT0, CLRSINT1, CLRINT, SCSISIGO
        /// (SCSISIGI), NONE.
        pub fn address(name: &str) -> Option<u8> {
            match name {
                $(stringify!($name) => Some($address),)*
                "SCSISIGI" | "SCSISIGO" => Some(SCSISIG),
                "CLRSINT0" => Some(SSTAT0),
                "CLRSINT1" => Some(SSTAT1),
                "CLRINT" => Some(ERROR),
                "NONE" => Some(ALLZEROS),
                _ => {
                    let hex = |prefix: &str| u8::from_str_radix(name.strip_prefix(prefix)?, 16).ok();
                    (hex("SRAM").filter(|a| (0x20..=0x5f).contains(a)))
                        .or_else(|| hex("SCB").filter(|a| *a < 32).map(|a| a + 0xa0))
                        .or_else(|| hex("R"))
                }
            }
        }
    };
}

registers! {
    /// SCSI sequence control.
    SCSISEQ = 0x00;
    /// SCSI transfer control 0.
    SXFRCTL0 = 0x01;
    /// SCSI transfer control 1.
    SXFRCTL1 = 0x02;
    /// SCSI control signals: read the bus (SCSISIGI), write the expected phase and signals (SCSISIGO).
    SCSISIG = 0x03;
    /// SCSI rate control.
    SCSIRATE = 0x04;
    /// SCSI IDs: bits 7:4 the target's, 3:0 our own.
    SCSIID = 0x05;
    /// SCSI data latch, low byte.
    SCSIDATL = 0x06;
    /// SCSI data latch, high byte.
    SCSIDATH = 0x07;
    /// SCSI transfer count, 24 bits, low byte.
    STCNT0 = 0x08;
    /// SCSI transfer count, middle byte.
    STCNT1 = 0x09;
    /// SCSI transfer count, high byte.
    STCNT2 = 0x0a;
    /// SCSI status 0; writes are CLRSINT0.
    SSTAT0 = 0x0b;
    /// SCSI status 1; writes are CLRSINT1.
    SSTAT1 = 0x0c;
    /// SCSI status 2.
    SSTAT2 = 0x0d;
    /// SCSI status 3.
    SSTAT3 = 0x0e;
    /// SCSI test.
    SCSITEST = 0x0f;
    /// SCSI interrupt mode 0.
    SIMODE0 = 0x10;
    /// SCSI interrupt mode 1.
    SIMODE1 = 0x11;
    /// SCSI data bus, low byte, without an acknowledge.
    SCSIBUSL = 0x12;
    /// SCSI data bus, high byte.
    SCSIBUSH = 0x13;
    /// Host address of the next byte on the SCSI side, byte 0 of 4.
    SHADDR0 = 0x14;
    /// Byte 1.
    SHADDR1 = 0x15;
    /// Byte 2.
    SHADDR2 = 0x16;
    /// Byte 3.
    SHADDR3 = 0x17;
    /// Selection timer.
    SELTIMER = 0x18;
    /// Selection or reselection ID.
    SELID = 0x19;
    /// SCAM control.
    SCAMCTL = 0x1a;
    /// Wake conditions of the sequencer.
    SLEEPCTL = 0x1c;
    /// Board control.
    BRDCTL = 0x1d;
    /// Serial EEPROM control.
    SEECTL = 0x1e;
    /// SCSI block control.
    SBLKCTL = 0x1f;
    /// Sequencer control.
    SEQCTL = 0x60;
    /// Sequencer RAM data.
    SEQRAM = 0x61;
    /// Sequencer address, low byte.
    SEQADDR0 = 0x62;
    /// Sequencer address, high byte.
    SEQADDR1 = 0x63;
    /// Accumulator.
    ACCUM = 0x64;
    /// Source index.
    SINDEX = 0x65;
    /// Destination index.
    DINDEX = 0x66;
    /// Break address, low byte.
    BRKADDR0 = 0x67;
    /// Break address, high byte and BRKDIS.
    BRKADDR1 = 0x68;
    /// Reads FFh.
    ALLONES = 0x69;
    /// Reads 00h; writes are dropped (NONE).
    ALLZEROS = 0x6a;
    /// ZERO and CARRY.
    FLAGS = 0x6b;
    /// The register that SINDEX points at; SINDEX goes on.
    SINDIR = 0x6c;
    /// The register that DINDEX points at; DINDEX goes on.
    DINDIR = 0x6d;
    /// Function: 1 shifted by bits 6:4.
    FUNCTION1 = 0x6e;
    /// The subroutine stack.
    STACK = 0x6f;
    /// PCI vendor and device ID, byte 0 of 4.
    PCIID0 = 0x80;
    /// Byte 1.
    PCIID1 = 0x81;
    /// Byte 2.
    PCIID2 = 0x82;
    /// Byte 3.
    PCIID3 = 0x83;
    /// Device space command 0.
    DSCOMMAND0 = 0x84;
    /// Device space command 1.
    DSCOMMAND1 = 0x85;
    /// Device space PCI status and the FIFO threshold.
    DSPCISTATUS = 0x86;
    /// Host control.
    HCNTRL = 0x87;
    /// Host address, byte 0 of 4.
    HADDR0 = 0x88;
    /// Byte 1.
    HADDR1 = 0x89;
    /// Byte 2.
    HADDR2 = 0x8a;
    /// Byte 3.
    HADDR3 = 0x8b;
    /// Host count, 24 bits, low byte.
    HCNT0 = 0x8c;
    /// Middle byte.
    HCNT1 = 0x8d;
    /// High byte.
    HCNT2 = 0x8e;
    /// SCB page.
    SCBPTR = 0x90;
    /// Interrupt status.
    INTSTAT = 0x91;
    /// Error; writes are CLRINT.
    ERROR = 0x92;
    /// Data FIFO control.
    DFCNTRL = 0x93;
    /// Data FIFO status.
    DFSTATUS = 0x94;
    /// Data FIFO write address, low byte.
    DFWADDR0 = 0x95;
    /// High byte.
    DFWADDR1 = 0x96;
    /// Data FIFO read address, low byte.
    DFRADDR0 = 0x97;
    /// High byte.
    DFRADDR1 = 0x98;
    /// Data FIFO data.
    DFDAT = 0x99;
    /// SCB auto-increment.
    SCBCNT = 0x9a;
    /// Queue to the sequencer.
    QINFIFO = 0x9b;
    /// Bytes in it.
    QINCNT = 0x9c;
    /// Queue to the host.
    QOUTFIFO = 0x9d;
    /// Bytes in it.
    QOUTCNT = 0x9e;
    /// Special function.
    SFUNCT = 0x9f;
}

/// First byte of scratch RAM.
pub const SRAM: u8 = 0x20;
/// First byte of the SCB window.
pub const SCB: u8 = 0xa0;

/// SCSISEQ.
pub mod scsiseq {
    /// Target mode.
    pub const TEMODE: u8 = 0x80;
    /// Start a selection.
    pub const ENSELO: u8 = 0x40;
    /// Answer selections.
    pub const ENSELI: u8 = 0x20;
    /// Answer reselections.
    pub const ENRSELI: u8 = 0x10;
    /// ATN with a selection.
    pub const ENAUTOATNO: u8 = 0x08;
    /// ATN with a reselection.
    pub const ENAUTOATNI: u8 = 0x04;
    /// ATN on a parity error.
    pub const ENAUTOATNP: u8 = 0x02;
    /// Drives the bus's RST line.
    pub const SCSIRSTO: u8 = 0x01;
}

/// SXFRCTL0.
pub mod sxfrctl0 {
    /// Digital filtering.
    pub const DFON: u8 = 0x80;
    /// Digital filtering period.
    pub const DFPEXP: u8 = 0x40;
    /// Strobe: STCNT becomes 0.
    pub const CLRSTCNT: u8 = 0x10;
    /// Bytes go through SCSIDATL.
    pub const SPIOEN: u8 = 0x08;
    /// SCAM.
    pub const SCAMEN: u8 = 0x04;
    /// Strobe: the SCSI side's FIFO and latch become empty.
    pub const CLRCHN: u8 = 0x02;
}

/// SXFRCTL1.
pub mod sxfrctl1 {
    /// Data are taken and thrown away, or given as zeros.
    pub const BITBUCKET: u8 = 0x80;
    /// STCNT may go below 0.
    pub const SWRAPEN: u8 = 0x40;
    /// Parity check.
    pub const ENSPCHK: u8 = 0x20;
    /// Selection timeout: 256, 128, 64, 32 ms.
    pub const STIMESEL: u8 = 0x18;
    /// Selection timer on.
    pub const ENSTIMER: u8 = 0x04;
    /// Active negation.
    pub const ACTNEGEN: u8 = 0x02;
    /// Termination.
    pub const STPWEN: u8 = 0x01;
}

/// SCSISIGI and SCSISIGO.
pub mod scsisig {
    /// Command or data.
    pub const CD: u8 = 0x80;
    /// Towards the initiator.
    pub const IO: u8 = 0x40;
    /// Message.
    pub const MSG: u8 = 0x20;
    /// Attention.
    pub const ATN: u8 = 0x10;
    /// Select.
    pub const SEL: u8 = 0x08;
    /// Busy.
    pub const BSY: u8 = 0x04;
    /// Request.
    pub const REQ: u8 = 0x02;
    /// Acknowledge.
    pub const ACK: u8 = 0x01;
}

/// SSTAT0, CLRSINT0 and SIMODE0.
pub mod sstat0 {
    /// Selected as a target.
    pub const TARGET: u8 = 0x80;
    /// Our selection was answered.
    pub const SELDO: u8 = 0x40;
    /// We were reselected.
    pub const SELDI: u8 = 0x20;
    /// Selecting.
    pub const SELINGO: u8 = 0x10;
    /// STCNT wrapped.
    pub const SWRAP: u8 = 0x08;
    /// STCNT is 0, or SPIORDY is up.
    pub const SDONE: u8 = 0x04;
    /// A byte can go through SCSIDATL.
    pub const SPIORDY: u8 = 0x02;
    /// STCNT and HCNT are 0.
    pub const DMADONE: u8 = 0x01;
    /// What a write can clear.
    pub const CLEARABLE: u8 = 0x7a;
}

/// SSTAT1, CLRSINT1 and SIMODE1.
pub mod sstat1 {
    /// Nobody answered a selection.
    pub const SELTO: u8 = 0x80;
    /// As a target: attention. A write drops ATN (CLRATNO).
    pub const ATNTARG: u8 = 0x40;
    /// The bus was reset.
    pub const SCSIRSTI: u8 = 0x20;
    /// REQ in another phase than expected.
    pub const PHASEMIS: u8 = 0x10;
    /// The bus became free.
    pub const BUSFREE: u8 = 0x08;
    /// Parity error.
    pub const SCSIPERR: u8 = 0x04;
    /// The phase changed.
    pub const PHASECHG: u8 = 0x02;
    /// A REQ came.
    pub const REQINIT: u8 = 0x01;
    /// What a write can clear.
    pub const CLEARABLE: u8 = 0xaf;
}

/// SEQCTL.
pub mod seqctl {
    /// Parity errors are ignored.
    pub const PERRORDIS: u8 = 0x80;
    /// The host's PAUSE waits.
    pub const PAUSEDIS: u8 = 0x40;
    /// Failures are ignored.
    pub const FAILDIS: u8 = 0x20;
    /// 10 million instructions a second.
    pub const FASTMODE: u8 = 0x10;
    /// A break address interrupts.
    pub const BRKADRINTEN: u8 = 0x08;
    /// One instruction at a time.
    pub const STEP: u8 = 0x04;
    /// Strobe: address 0.
    pub const SEQRESET: u8 = 0x02;
    /// SEQRAM can be reached.
    pub const LOADRAM: u8 = 0x01;
}

/// HCNTRL.
pub mod hcntrl {
    /// Power down: no interrupts.
    pub const POWRDN: u8 = 0x40;
    /// Software interrupt.
    pub const SWINT: u8 = 0x10;
    /// Interrupt mode (not on PCI).
    pub const IRQMS: u8 = 0x08;
    /// The sequencer is to stop; reads 1 when it has.
    pub const PAUSE: u8 = 0x04;
    /// Interrupts reach the pin.
    pub const INTEN: u8 = 0x02;
    /// Chip reset; reads 1 until written 0 (CHIPRSTACK).
    pub const CHIPRST: u8 = 0x01;
}

/// INTSTAT, and CLRINT.
pub mod intstat {
    /// Break address, or an error.
    pub const BRKADRINT: u8 = 0x08;
    /// A cause of SSTAT0 or SSTAT1.
    pub const SCSIINT: u8 = 0x04;
    /// A command is complete.
    pub const CMDCMPLT: u8 = 0x02;
    /// The sequencer's program calls, with a code in bits 7:4.
    pub const SEQINT: u8 = 0x01;
}

/// ERROR.
pub mod error {
    /// A PCI error; its status register says which.
    pub const PCIERRSTAT: u8 = 0x40;
    /// Sequencer RAM parity.
    pub const SQPARERR: u8 = 0x08;
    /// Illegal opcode.
    pub const ILLOPCODE: u8 = 0x04;
}

/// DFCNTRL.
pub mod dfcntrl {
    /// Odd lengths on a wide bus.
    pub const WIDEODD: u8 = 0x40;
    /// SCSI bus to the SCSI side's FIFO.
    pub const SCSIEN: u8 = 0x20;
    /// SCSI side's FIFO to the data FIFO.
    pub const SDMAEN: u8 = 0x10;
    /// Data FIFO to the host.
    pub const HDMAEN: u8 = 0x08;
    /// 1: towards the SCSI bus.
    pub const DIRECTION: u8 = 0x04;
    /// Strobe: what is in the FIFO goes to the host.
    pub const FIFOFLUSH: u8 = 0x02;
    /// Strobe: the FIFO becomes empty.
    pub const FIFORESET: u8 = 0x01;
}

/// DFSTATUS.
pub mod dfstatus {
    /// Fewer than 8 bytes in the FIFO.
    pub const FIFOQWDEMP: u8 = 0x20;
    /// HCNT is 0.
    pub const HDONE: u8 = 0x08;
    /// The threshold is reached.
    pub const DFTHRESH: u8 = 0x04;
    /// 256 bytes.
    pub const FIFOFULL: u8 = 0x02;
    /// None.
    pub const FIFOEMP: u8 = 0x01;
}

/// SEECTL.
pub mod seectl {
    /// External arbitration acknowledged.
    pub const EXTARBACK: u8 = 0x80;
    /// External arbitration request.
    pub const EXTARBREQ: u8 = 0x40;
    /// The serial memory is ours.
    pub const SEEMS: u8 = 0x20;
    /// Ready.
    pub const SEERDY: u8 = 0x10;
    /// Chip select.
    pub const SEECS: u8 = 0x08;
    /// Clock.
    pub const SEECK: u8 = 0x04;
    /// Data to the memory.
    pub const SEEDO: u8 = 0x02;
    /// Data from the memory.
    pub const SEEDI: u8 = 0x01;
}
