//! Address maps: from the windows of all devices to "who answers at this address".

use slotone_bus::{Device, LentId, Space, Target, Window, WindowId};

/// Who answers an access, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Nobody, or a window that is claimed and empty.
    Open,
    /// A device's `read` or `write`.
    Device {
        /// Index of the device.
        device: u16,
        /// Its window.
        window: WindowId,
        /// Address of the window's first byte.
        base: u64,
    },
    /// Main memory; offset of the segment's first byte.
    Ram(u64),
    /// A lent memory; offset of the segment's first byte.
    Lent(u16, LentId, u64),
}

/// A run of memory addresses with one answer for reads and one for writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) start: u64,
    /// First address behind it.
    pub(crate) end: u64,
    pub(crate) read: Route,
    pub(crate) write: Route,
}

impl Segment {
    /// No address.
    const NONE: Self = Self { start: 0, end: 0, read: Route::Open, write: Route::Open };
}

/// A window with its owner, in order of precedence.
#[derive(Debug, Clone, Copy)]
struct Claim {
    device: u16,
    window: Window,
}

impl Claim {
    fn end(&self) -> u64 {
        self.window.base.saturating_add(self.window.len)
    }

    /// The route of an address run that starts at `start`, or `None` where the window passes the access on.
    fn route(&self, target: Target, start: u64) -> Option<Route> {
        let skip = start - self.window.base;
        Some(match target {
            Target::Pass => return None,
            Target::Open => Route::Open,
            Target::Device => {
                Route::Device { device: self.device, window: self.window.id, base: self.window.base }
            }
            Target::Ram { offset } => Route::Ram(offset.saturating_add(skip)),
            Target::Lent { memory, offset } => Route::Lent(self.device, memory, offset.saturating_add(skip)),
        })
    }
}

/// The maps of one machine.
#[derive(Debug)]
pub(crate) struct AddressMap {
    memory: Vec<Segment>,
    /// The longest that is RAM: nearly all of it, to which nearly all DMA goes.
    longest: Segment,
    /// Per port, index + 1 into `io_routes`; 0 is nobody.
    io_read: Box<[u16]>,
    io_write: Box<[u16]>,
    io_routes: Vec<Route>,
    /// Per device and function of PCI bus 0.
    config: Box<[Option<(u16, WindowId)>; 256]>,
}

const PORTS: usize = 1 << 16;

impl AddressMap {
    pub(crate) fn new() -> Self {
        Self {
            memory: Vec::new(),
            longest: Segment::NONE,
            io_read: vec![0; PORTS].into(),
            io_write: vec![0; PORTS].into(),
            io_routes: Vec::new(),
            config: Box::new([None; 256]),
        }
    }

    /// Builds everything anew from `(device, PCI slot)` pairs.
    pub(crate) fn rebuild<'a>(&mut self, devices: impl Iterator<Item = (u16, Option<u8>, &'a dyn Device)>) {
        let mut memory = Vec::new();
        let mut io = Vec::new();
        self.config.fill(None);
        for (device, slot, it) in devices {
            for window in it.windows().1 {
                let claim = Claim { device, window: *window };
                match window.space {
                    Space::Memory => memory.push(claim),
                    Space::Io => io.push(claim),
                    Space::PciConfig { function } => {
                        if let Some(slot) = slot {
                            let entry = &mut self.config[usize::from(slot << 3 | function & 7)];
                            entry.get_or_insert((device, window.id));
                        }
                    }
                }
            }
        }
        // Stable: among equal priorities the device added first stays first.
        memory.sort_by_key(|c| std::cmp::Reverse(c.window.priority));
        io.sort_by_key(|c| std::cmp::Reverse(c.window.priority));
        self.memory = segments(&memory);
        let ram = self.memory.iter().filter(|s| matches!((s.read, s.write), (Route::Ram(_), Route::Ram(_))));
        self.longest = ram.max_by_key(|s| s.end - s.start).copied().unwrap_or(Segment::NONE);
        self.paint_io(&io);
    }

    fn paint_io(&mut self, claims: &[Claim]) {
        self.io_read.fill(0);
        self.io_write.fill(0);
        self.io_routes.clear();
        for claim in claims.iter().rev() {
            let start = usize::try_from(claim.window.base).unwrap_or(PORTS).min(PORTS);
            let end = usize::try_from(claim.end()).unwrap_or(PORTS).min(PORTS);
            for (table, target) in
                [(&mut self.io_read, claim.window.read), (&mut self.io_write, claim.window.write)]
            {
                if let Some(route) = claim.route(target, claim.window.base) {
                    self.io_routes.push(route);
                    table[start..end].fill(self.io_routes.len() as u16);
                }
            }
        }
    }

    /// Who answers at `port`.
    #[inline]
    pub(crate) fn io(&self, port: u16, write: bool) -> Route {
        let table = if write { &self.io_write } else { &self.io_read };
        match table[usize::from(port)] {
            0 => Route::Open,
            n => self.io_routes[usize::from(n) - 1],
        }
    }

    /// The segment that holds `address`; addresses nobody claims form open segments.
    pub(crate) fn segment(&self, address: u64) -> Segment {
        if (self.longest.start..self.longest.end).contains(&address) {
            return self.longest;
        }
        let next = self.memory.partition_point(|s| s.end <= address);
        match self.memory.get(next) {
            Some(s) if s.start <= address => *s,
            other => Segment {
                start: if next == 0 { 0 } else { self.memory[next - 1].end },
                end: other.map_or(u64::MAX, |s| s.start),
                read: Route::Open,
                write: Route::Open,
            },
        }
    }

    /// The device and window behind a configuration address of bus 0.
    pub(crate) fn config(&self, devfn: u8) -> Option<(u16, WindowId)> {
        self.config[usize::from(devfn)]
    }
}

/// Cuts overlapping claims, ordered by precedence, into disjoint segments.
fn segments(claims: &[Claim]) -> Vec<Segment> {
    let mut cuts: Vec<u64> = claims.iter().flat_map(|c| [c.window.base, c.end()]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut out: Vec<Segment> = Vec::new();
    for pair in cuts.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        let over = |c: &&Claim| c.window.base <= start && end <= c.end();
        let read = claims.iter().filter(over).find_map(|c| c.route(c.window.read, start));
        let write = claims.iter().filter(over).find_map(|c| c.route(c.window.write, start));
        if read.is_some() || write.is_some() {
            let (read, write) = (read.unwrap_or(Route::Open), write.unwrap_or(Route::Open));
            out.push(Segment { start, end, read, write });
        }
    }
    join(out)
}

/// Joins neighbours that continue each other, so that pages are not split where nothing changes.
fn join(segments: Vec<Segment>) -> Vec<Segment> {
    let follows = |a: Route, b: Route, len: u64| match (a, b) {
        (Route::Ram(x), Route::Ram(y)) => x + len == y,
        (Route::Lent(d, i, x), Route::Lent(e, j, y)) => (d, i, x + len) == (e, j, y),
        (a, b) => a == b,
    };
    let mut out: Vec<Segment> = Vec::with_capacity(segments.len());
    for s in segments {
        match out.last_mut() {
            Some(last)
                if last.end == s.start
                    && follows(last.read, s.read, last.end - last.start)
                    && follows(last.write, s.write, last.end - last.start) =>
            {
                last.end = s.end;
            }
            _ => out.push(s),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(device: u16, base: u64, len: u64, priority: u8, read: Target, write: Target) -> Claim {
        let window = Window { priority, read, write, ..Window::memory(WindowId(device), base, len) };
        Claim { device, window }
    }

    #[test]
    fn read_rom_write_ram() {
        // PAM state 10b: reads fall through to the ROM below, writes go to memory.
        let dram = claim(0, 0xf0000, 0x10000, 128, Target::Pass, Target::Ram { offset: 0xf0000 });
        let rom = claim(1, 0xe0000, 0x20000, 64, Target::Lent { memory: LentId(0), offset: 0 }, Target::Open);
        let map = segments(&[dram, rom]);
        assert_eq!(map.len(), 2);
        assert_eq!(map[0].read, Route::Lent(1, LentId(0), 0));
        assert_eq!(map[0].write, Route::Open);
        assert_eq!(map[1].read, Route::Lent(1, LentId(0), 0x10000));
        assert_eq!(map[1].write, Route::Ram(0xf0000));
    }

    #[test]
    fn neighbours_join_and_holes_are_open() {
        let ram = |base, len| {
            let t = Target::Ram { offset: base };
            claim(0, base, len, 128, t, t)
        };
        let mut map = AddressMap::new();
        map.memory = segments(&[ram(0, 0xa0000), ram(0xc0000, 0x4000), ram(0xc4000, 0x4000)]);
        assert_eq!(map.memory.len(), 2);
        assert_eq!(map.segment(0xc5000).read, Route::Ram(0xc0000));
        let hole = map.segment(0xa0000);
        assert_eq!((hole.start, hole.end, hole.read), (0xa0000, 0xc0000, Route::Open));
        assert_eq!(map.segment(u64::MAX - 1).read, Route::Open);
    }
}
