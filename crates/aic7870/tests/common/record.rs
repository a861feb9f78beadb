//! A bus analyser: what happened on the SCSI bus as lines of text, in which nothing depends on where a driver keeps its things.
//! Queue tags are shown as the number of the command that they stand for, in the order in which the driver queued them.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use slotone_aic7870::{Aic7870, BusEvent};

/// What the next byte of a stream of messages is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Message,
    Tag,
    Length,
    Skip(u8),
}

/// From a selection to the bus free after it.
#[derive(Debug, Clone, Default)]
struct Connection {
    target: u8,
    tag: Option<u32>,
    lines: Vec<String>,
    phase: Option<u8>,
    bytes: Vec<u8>,
    /// The run of message bytes as text.
    messages: String,
    next: [Next; 2],
}

#[derive(Debug, Default)]
struct Log {
    names: HashMap<u8, u32>,
    count: u32,
    done: Vec<Connection>,
    open: Connection,
}

impl Connection {
    /// Ends a run of bytes in one phase.
    fn flush(&mut self) {
        let Some(phase) = self.phase.take() else { return };
        let bytes = std::mem::take(&mut self.bytes);
        let mut line = match phase {
            0x00 => "DATA OUT",
            0x40 => "DATA IN",
            0x80 => "COMMAND",
            0xa0 => "MESSAGE OUT",
            0xc0 => "STATUS",
            _ => "MESSAGE IN",
        }
        .to_string();
        if phase & 0xa0 == 0xa0 {
            line += &std::mem::take(&mut self.messages);
        } else if bytes.len() <= 40 {
            bytes.iter().for_each(|byte| write!(line, " {byte:02x}").expect("a string"));
        } else {
            // FNV-1a of 64 bits, and a few to look at.
            let mut hash = 0xcbf2_9ce4_8422_2325u64;
            bytes.iter().for_each(|byte| hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
            write!(line, ": {} bytes, hash {hash:016x}, first", bytes.len()).expect("a string");
            bytes[..8].iter().for_each(|byte| write!(line, " {byte:02x}").expect("a string"));
        }
        self.lines.push(line);
    }

    fn byte(&mut self, phase: u8, byte: u8, names: &HashMap<u8, u32>) {
        if self.phase != Some(phase) {
            self.flush();
            self.phase = Some(phase);
        }
        if phase & 0xa0 != 0xa0 {
            return self.bytes.push(byte);
        }
        let next = &mut self.next[usize::from(phase == 0xe0)];
        let (after, text) = match (*next, byte) {
            (Next::Tag, tag) => {
                let name = names.get(&tag).copied().unwrap_or(999);
                self.tag = self.tag.or(Some(name));
                (Next::Message, format!(" #{name}"))
            }
            (Next::Length, n) => (if n == 0 { Next::Message } else { Next::Skip(n) }, format!(" {n:02x}")),
            (Next::Skip(n), byte) => {
                (if n == 1 { Next::Message } else { Next::Skip(n - 1) }, format!(" {byte:02x}"))
            }
            (Next::Message, 0x01) => (Next::Length, " 01".to_string()),
            (Next::Message, 0x20..=0x2f) => (Next::Tag, format!(" {byte:02x}")),
            (Next::Message, byte) => (Next::Message, format!(" {byte:02x}")),
        };
        *next = after;
        self.messages += &text;
    }
}

/// Listens to an adapter, and to those that take its place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Log>>);

impl Recorder {
    pub(crate) fn listen(&self, aic: &mut Aic7870) {
        let log = Arc::clone(&self.0);
        aic.set_bus_trace(move |event| log.lock().expect("nobody panicked with it").hear(event));
    }

    /// From now on `tag` is that of the next command.
    pub(crate) fn name(&self, tag: u8) {
        let mut log = self.0.lock().expect("nobody panicked with it");
        log.count += 1;
        let count = log.count;
        log.names.insert(tag, count);
    }

    /// Forgets what was heard so far.
    pub(crate) fn clear(&self) {
        *self.0.lock().expect("nobody panicked with it") = Log::default();
    }

    /// Everything in order.
    pub(crate) fn text(&self) -> String {
        let log = self.0.lock().expect("nobody panicked with it");
        assert!(log.open.lines.is_empty() && log.open.phase.is_none(), "the bus is not free");
        let mut text = String::new();
        for connection in &log.done {
            for (n, line) in connection.lines.iter().enumerate() {
                writeln!(text, "{}{line}", if n == 0 { "" } else { "  " }).expect("a string");
            }
        }
        text
    }

    /// The same by commands: whose target comes first depends on how long everything takes.
    pub(crate) fn text_by_nexus(&self) -> String {
        let log = self.0.lock().expect("nobody panicked with it");
        let mut text = String::new();
        let mut keys: Vec<_> = log.done.iter().map(|c| (c.target, c.tag)).collect();
        keys.sort_unstable();
        keys.dedup();
        for (target, tag) in keys {
            let tag_text = tag.map_or("untagged".to_string(), |tag| format!("#{tag}"));
            writeln!(text, "-- target {target}, {tag_text}").expect("a string");
            for connection in log.done.iter().filter(|c| (c.target, c.tag) == (target, tag)) {
                for (n, line) in connection.lines.iter().enumerate() {
                    writeln!(text, "{}{line}", if n == 0 { "" } else { "  " }).expect("a string");
                }
            }
        }
        text
    }
}

impl Log {
    fn hear(&mut self, event: &BusEvent<'_>) {
        let open = &mut self.open;
        match *event {
            BusEvent::Bytes { phase, bytes } => {
                bytes.iter().for_each(|byte| open.byte(phase, *byte, &self.names));
            }
            BusEvent::Selected { target, .. } | BusEvent::Reselected { target } => {
                assert!(open.lines.is_empty(), "a selection on a busy bus");
                open.target = target;
                open.lines.push(event.to_string());
            }
            BusEvent::SelectionTimeout { target } => {
                open.target = target;
                open.lines.push(event.to_string());
                self.done.push(std::mem::take(open));
            }
            BusEvent::Free | BusEvent::Reset => {
                open.flush();
                open.lines.push(event.to_string());
                self.done.push(std::mem::take(open));
            }
            BusEvent::Attention(_) => {
                open.flush();
                open.lines.push(event.to_string());
            }
            _ => panic!("a new event: {event:?}"),
        }
    }
}
