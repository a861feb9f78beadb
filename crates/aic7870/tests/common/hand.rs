//! An initiator made of register accesses, with the sequencer paused: what an option ROM is.

use slotone_aic7870::Aic7870Config;

use super::Board;

pub(crate) const DATA_OUT: u8 = 0x00;
pub(crate) const DATA_IN: u8 = 0x40;
pub(crate) const COMMAND: u8 = 0x80;
pub(crate) const MESSAGE_OUT: u8 = 0xa0;
pub(crate) const STATUS: u8 = 0xc0;
pub(crate) const MESSAGE_IN: u8 = 0xe0;

/// An initiator made of register accesses.
pub(crate) struct Hand {
    pub(crate) board: Board,
    /// Every byte on the bus with its phase.
    pub(crate) log: Vec<(u8, u8)>,
}

/// What came of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Result {
    pub(crate) data: Vec<u8>,
    pub(crate) status: Option<u8>,
    pub(crate) messages: Vec<u8>,
}

impl Hand {
    pub(crate) fn new(config: Aic7870Config, ids: &[u8]) -> Self {
        let mut board = Board::new(config, ids);
        board.set(0x87, 0x06);
        board.set(0x02, 0x24);
        Self { board, log: Vec::new() }
    }

    /// Selects; whether someone answered.
    pub(crate) fn select(&mut self, id: u8, atn: bool) -> bool {
        self.select_as(7, id, atn)
    }

    /// The same, as the initiator with SCSI ID `own`.
    pub(crate) fn select_as(&mut self, own: u8, id: u8, atn: bool) -> bool {
        self.board.set(0x0c, 0x88);
        self.board.set(0x05, id << 4 | own);
        self.board.set(0x00, if atn { 0x48 } else { 0x40 });
        for _ in 0..10_000 {
            if self.board.get(0x0b) & 0x40 != 0 {
                self.board.set(0x00, 0x10);
                self.board.set(0x0c, 0x08);
                self.board.set(0x01, 0x1a);
                return true;
            }
            if self.board.get(0x0c) & 0x80 != 0 {
                assert_eq!(self.board.get(0x0b) & 0x10, 0x10, "SELINGO stays");
                self.board.set(0x00, 0);
                self.board.set(0x0c, 0x80);
                self.board.set(0x0b, 0x10);
                return false;
            }
            self.board.advance(1_000);
        }
        panic!("neither selected nor timed out");
    }

    /// The phase of the next REQ, expected from now on; `None` when the bus is free.
    pub(crate) fn phase(&mut self) -> Option<u8> {
        for _ in 0..10_000 {
            let status = self.board.get(0x0c);
            if status & 0x08 != 0 {
                assert_eq!(self.board.get(0x03) & !0x08, 0, "but for SEL of a selection that waited");
                return None;
            }
            if status & 0x01 != 0 {
                let phase = self.board.get(0x03) & 0xe0;
                self.board.set(0x03, phase);
                assert_eq!(self.board.get(0x0c) & 0x10, 0, "PHASEMIS goes when the phase is expected");
                return Some(phase);
            }
            self.board.advance(1_000);
        }
        panic!("the target holds the bus for ever");
    }

    pub(crate) fn put(&mut self, phase: u8, byte: u8) {
        self.board.set(0x06, byte);
        self.log.push((phase, byte));
    }

    pub(crate) fn get(&mut self, phase: u8) -> u8 {
        let seen = self.board.get(0x12);
        let byte = self.board.get(0x06);
        assert_eq!(seen, byte, "SCSIBUSL shows the byte before");
        self.log.push((phase, byte));
        byte
    }

    /// Sends `messages`, ATN away before the last byte.
    pub(crate) fn send(&mut self, messages: &[u8]) {
        for (n, byte) in messages.iter().enumerate() {
            assert_eq!(self.phase(), Some(MESSAGE_OUT));
            if n + 1 == messages.len() {
                self.board.set(0x0c, 0x40);
            }
            self.put(MESSAGE_OUT, *byte);
        }
    }

    /// Carries on until the bus is free.
    pub(crate) fn carry_on(&mut self, cdb: &[u8], out: &[u8]) -> Result {
        let mut result = Result { data: Vec::new(), status: None, messages: Vec::new() };
        let (mut cdb, mut out) = (cdb.iter(), out.iter());
        while let Some(phase) = self.phase() {
            match phase {
                COMMAND => {
                    let byte = *cdb.next().expect("no more of the command is wanted");
                    self.put(phase, byte);
                }
                DATA_IN => {
                    let byte = self.get(phase);
                    result.data.push(byte);
                }
                DATA_OUT => {
                    let byte = *out.next().expect("no more data are wanted");
                    self.put(phase, byte);
                }
                STATUS => result.status = Some(self.get(phase)),
                MESSAGE_IN => {
                    let byte = self.get(phase);
                    result.messages.push(byte);
                }
                other => panic!("phase {other:02x}"),
            }
        }
        self.board.set(0x0c, 0x08);
        result
    }

    /// A whole command without disconnection.
    pub(crate) fn command(&mut self, id: u8, cdb: &[u8], out: &[u8]) -> Result {
        assert!(self.select(id, true));
        self.send(&[0x80]);
        self.carry_on(cdb, out)
    }

    pub(crate) fn good(&mut self, id: u8, cdb: &[u8], out: &[u8]) -> Vec<u8> {
        let result = self.command(id, cdb, out);
        assert_eq!((result.status, &result.messages[..]), (Some(0), &[0][..]), "{cdb:02x?}");
        result.data
    }

    /// Key, code and qualifier of what is wrong.
    pub(crate) fn sense(&mut self, id: u8) -> (u8, u8, u8) {
        let data = self.good(id, &[3, 0, 0, 0, 18, 0], &[]);
        (data[2], data[12], data[13])
    }

    /// The unit attention of power-on is taken.
    pub(crate) fn ready(&mut self, id: u8) {
        assert_eq!(self.command(id, &[0; 6], &[]).status, Some(2));
        assert_eq!(self.sense(id), (6, 0x29, 0));
        self.good(id, &[0; 6], &[]);
    }

    /// Waits for a reselection and takes its messages.
    pub(crate) fn reselected(&mut self) -> (u8, Vec<u8>) {
        for _ in 0..10_000 {
            if self.board.get(0x0b) & 0x20 != 0 {
                let id = self.board.get(0x19) >> 4;
                self.board.set(0x01, 0x1a);
                self.board.set(0x0b, 0x20);
                let mut messages = Vec::new();
                while messages.is_empty() || self.phase() == Some(MESSAGE_IN) {
                    assert_eq!(self.phase(), Some(MESSAGE_IN));
                    messages.push(self.get(MESSAGE_IN));
                }
                return (id, messages);
            }
            self.board.advance(1_000);
        }
        panic!("nobody reselects");
    }
}

/// A bus with two disks whose unit attentions were taken.
pub(crate) fn hand() -> Hand {
    let mut hand = Hand::new(Aic7870Config::default(), &[0, 2]);
    hand.ready(0);
    hand.ready(2);
    hand
}

/// Begins a tagged read that disconnects.
pub(crate) fn begin(hand: &mut Hand, id: u8, tag: u8, kind: u8, lba: u8) {
    assert!(hand.select(id, true));
    hand.send(&[0xc0, kind, tag]);
    let result = hand.carry_on(&[0x08, 0, 0, lba, 1, 0], &[]);
    assert_eq!((result.status, &result.messages[..]), (None, &[4][..]), "DISCONNECT");
}
