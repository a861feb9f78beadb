//! What the small drivers around other people's programs have in common, and what each of these programs has to do.

use super::Board;

/// Address and bytes of a piece of main memory.
pub(crate) type Segment = (u32, u32);

/// READ(10).
pub(crate) fn read10(lba: u32, blocks: u16) -> [u8; 10] {
    let [a, b, c, d] = lba.to_be_bytes();
    let [e, f] = blocks.to_be_bytes();
    [0x28, 0, a, b, c, d, 0, e, f, 0]
}

/// WRITE(10).
pub(crate) fn write10(lba: u32, blocks: u16) -> [u8; 10] {
    let mut cdb = read10(lba, blocks);
    cdb[0] = 0x2a;
    cdb
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Status(u8),
    Timeout,
    Overrun,
    /// The bus went free after a message that asks for it.
    Aborted,
}

/// A driver that is attached to a board.
pub(crate) trait Driver {
    /// Queues a command; returns its tag. `tagged`: with a SIMPLE QUEUE TAG message and the disconnect privilege.
    fn queue(&mut self, board: &mut Board, id: u8, cdb: &[u8], segments: &[Segment], tagged: bool) -> u8;

    /// Serves one interrupt.
    fn interrupt(&mut self, board: &mut Board);

    /// (tag, how it ended) in order of completion.
    fn done(&mut self) -> &mut Vec<(u8, End)>;

    /// Sense data that came with the last CHECK CONDITION of `tag`.
    fn sense(&self, board: &Board, tag: u8) -> Vec<u8>;

    /// Serves interrupts until `n` commands have ended; returns those.
    fn finish(&mut self, board: &mut Board, n: usize) -> Vec<(u8, End)> {
        while self.done().len() < n {
            board.wait();
            self.interrupt(board);
        }
        std::mem::take(self.done())
    }

    /// One command from start to end.
    fn run(&mut self, board: &mut Board, id: u8, cdb: &[u8], segments: &[Segment], tagged: bool) -> End {
        let tag = self.queue(board, id, cdb, segments, tagged);
        let done = self.finish(board, 1);
        assert_eq!(done[0].0, tag);
        done[0].1
    }
}

/// Eight sectors of the disk at ID 1 in pieces at odd addresses, there and back.
pub(crate) fn reads_and_writes_in_segments(board: &mut Board, driver: &mut impl Driver) {
    let segments = [
        (0x100001, 700),
        (0x108003, 1),
        (0x110002, 1300),
        (0x118000, 95),
        (0x120005, 1000),
        (0x130000, 1000),
    ];
    assert_eq!(segments.iter().map(|s| s.1).sum::<u32>(), 4096);
    for tagged in [false, true] {
        assert_eq!(driver.run(board, 1, &read10(3, 8), &segments, tagged), End::Complete);
        let mut got = Vec::new();
        for (at, len) in segments {
            got.extend(board.memory(at.into(), len as usize));
        }
        let expected: Vec<u8> = (3..11u32).flat_map(|n| (n | 1 << 24).to_le_bytes().repeat(128)).collect();
        assert!(got == expected);
    }
    for (n, (at, len)) in segments.iter().enumerate() {
        board.poke(u64::from(*at), &vec![0x50 + n as u8; *len as usize]);
    }
    assert_eq!(driver.run(board, 1, &write10(100, 8), &segments, true), End::Complete);
    assert_eq!(driver.run(board, 1, &read10(100, 8), &[(0x200000, 4096)], false), End::Complete);
    let expected: Vec<u8> =
        segments.iter().enumerate().flat_map(|(n, (_, len))| vec![0x50 + n as u8; *len as usize]).collect();
    assert!(board.memory(0x200000, 4096) == expected);
}

/// 1 MiB in segments of 64 KiB, to the disk at ID 1 and back: more than one piece of the medium.
pub(crate) fn a_large_transfer(board: &mut Board, driver: &mut impl Driver) {
    let data: Vec<u8> = (0..1u32 << 20).map(|n| ((n * 7) >> 3) as u8).collect();
    board.poke(0x300000, &data);
    let segments: Vec<_> = (0..16).map(|n| (0x300000 + n * 0x10000, 0x10000)).collect();
    assert_eq!(driver.run(board, 1, &write10(1000, 2048), &segments, true), End::Complete);
    let segments: Vec<_> = (0..16).map(|n| (0x500000 + n * 0x10000, 0x10000)).collect();
    assert_eq!(driver.run(board, 1, &read10(1000, 2048), &segments, true), End::Complete);
    assert!(board.memory(0x500000, 1 << 20) == data);
}

/// Forty tagged commands of 1 ms on the disks at IDs 0 and 3: more than the chip has pages for their blocks.
pub(crate) fn forty_commands_on_two_disks(board: &mut Board, driver: &mut impl Driver) {
    let start = board.now;
    let mut tags = Vec::new();
    for n in 0..40u32 {
        let id = if n % 2 == 0 { 0 } else { 3 };
        tags.push(driver.queue(board, id, &read10(n, 1), &[(0x100000 + n * 512, 512)], true));
    }
    let mut done = driver.finish(board, 40);
    done.sort_by_key(|(tag, _)| *tag);
    tags.sort_unstable();
    assert_eq!(done, tags.iter().map(|t| (*t, End::Complete)).collect::<Vec<_>>());
    for n in 0..40u32 {
        let id = if n % 2 == 0 { 0 } else { 3 };
        let data = board.memory(0x100000 + u64::from(n) * 512, 512);
        assert_eq!(data, (n | id << 24).to_le_bytes().repeat(128), "command {n}");
    }
    let took = board.now - start;
    assert!(took < 8_000_000, "forty commands of 1 ms took {took} ns: they were not in flight together");
}
