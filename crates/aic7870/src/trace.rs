//! The tracer: the sequencer's instructions and the SCSI bus in words, and the bus as events for programs.

/// Prints a line if the feature `trace` is on and someone listens.
macro_rules! trace {
    ($adapter:expr, $($text:tt)*) => {
        #[cfg(feature = "trace")]
        if $adapter.trace.is_some() {
            let line = format!($($text)*);
            $adapter.trace_line(&line);
        }
    };
}

/// Tells of something on the bus if the feature `trace` is on: a variant of [`BusEvent`].
macro_rules! on_bus {
    ($adapter:expr, $($event:tt)*) => {
        #[cfg(feature = "trace")]
        {
            let event = $crate::trace::BusEvent::$($event)*;
            $adapter.trace_event(&event);
        }
    };
}

#[cfg(feature = "trace")]
mod sink {
    use crate::adapter::Adapter;
    use crate::asm::disassemble;

    /// Receives lines.
    pub(crate) type Sink = Box<dyn FnMut(&str) + Send>;
    /// Receives what happens on the bus.
    pub(crate) type BusSink = Box<dyn FnMut(&BusEvent<'_>) + Send>;

    /// Something on the SCSI bus that a bus analyser would see (feature `trace`).
    #[cfg_attr(docsrs, doc(cfg(feature = "trace")))]
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum BusEvent<'a> {
        /// Our selection of a target was answered.
        Selected {
            /// Its SCSI ID.
            target: u8,
            /// With ATN.
            attention: bool,
        },
        /// Nobody answered our selection.
        SelectionTimeout {
            /// The SCSI ID that was asked for.
            target: u8,
        },
        /// A target reselected us.
        Reselected {
            /// Its SCSI ID.
            target: u8,
        },
        /// ATN rose or fell, by the initiator's doing, while a target holds the bus.
        Attention(bool),
        /// Bytes that were acknowledged.
        Bytes {
            /// C/D, I/O and MSG as in bits 7:5 of SCSISIGI.
            phase: u8,
            /// One byte by hand, any number by DMA; a program may see one transfer in pieces.
            bytes: &'a [u8],
        },
        /// The bus became free.
        Free,
        /// RST.
        Reset,
    }

    /// The name of a phase as SCSI-2 prints it.
    fn phase_name(phase: u8) -> &'static str {
        match phase {
            0x00 => "DATA OUT",
            0x40 => "DATA IN",
            0x80 => "COMMAND",
            0xa0 => "MESSAGE OUT",
            0xc0 => "STATUS",
            0xe0 => "MESSAGE IN",
            _ => "a reserved phase",
        }
    }

    /// A message by its name in SCSI-2, with the bytes that say more.
    pub(crate) fn message_text(bytes: &[u8]) -> String {
        use crate::bus::message as m;
        let name = match *bytes {
            [identify @ 0x80..=0xff] => {
                let leave = if identify & 0x40 != 0 { ", may disconnect" } else { "" };
                return format!("IDENTIFY lun {}{leave}", identify & 7);
            }
            [kind @ 0x20..=0x22, tag] => return format!("{} QUEUE TAG {tag:02x}", queue(kind)),
            [m::EXTENDED, 3, m::SDTR, period, offset] => {
                return format!("SDTR period {} ns, offset {offset}", u32::from(period) * 4);
            }
            [m::EXTENDED, 2, m::WDTR, width] => return format!("WDTR {} bits", 8u32 << (width & 3)),
            [m::SAVE_DATA_POINTER] => "SAVE DATA POINTER",
            [m::COMMAND_COMPLETE] => "COMMAND COMPLETE",
            [m::DISCONNECT] => "DISCONNECT",
            [m::INITIATOR_DETECTED_ERROR] => "INITIATOR DETECTED ERROR",
            [m::ABORT] => "ABORT",
            [m::MESSAGE_REJECT] => "MESSAGE REJECT",
            [m::NO_OPERATION] => "NO OPERATION",
            [m::MESSAGE_PARITY_ERROR] => "MESSAGE PARITY ERROR",
            [m::BUS_DEVICE_RESET] => "BUS DEVICE RESET",
            [m::ABORT_TAG] => "ABORT TAG",
            [m::CLEAR_QUEUE] => "CLEAR QUEUE",
            _ => return format!("{bytes:02x?}"),
        };
        name.to_string()
    }

    /// The tag of a command, if it has one.
    pub(crate) fn tag_text(tag: Option<(u8, u8)>) -> String {
        tag.map_or(String::new(), |(kind, tag)| format!(", {} tag {tag:02x}", queue(kind).to_lowercase()))
    }

    fn queue(kind: u8) -> &'static str {
        match kind {
            0x20 => "SIMPLE",
            0x21 => "HEAD OF",
            _ => "ORDERED",
        }
    }

    impl std::fmt::Display for BusEvent<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            match *self {
                Self::Selected { target, attention: true } => write!(f, "target {target} selected with ATN"),
                Self::Selected { target, attention: false } => write!(f, "target {target} selected"),
                Self::SelectionTimeout { target } => write!(f, "selection timeout: target {target}"),
                Self::Reselected { target } => write!(f, "target {target} reselects"),
                Self::Attention(on) => f.write_str(if on { "ATN" } else { "ATN falls" }),
                Self::Bytes { phase, bytes } => {
                    write!(f, "{}", phase_name(phase))?;
                    if bytes.len() > 1 {
                        write!(f, " of {} bytes", bytes.len())?;
                    }
                    bytes.iter().take(16).try_for_each(|byte| write!(f, " {byte:02x}"))?;
                    if bytes.len() > 16 { f.write_str(" ...") } else { Ok(()) }
                }
                Self::Free => f.write_str("bus free"),
                Self::Reset => f.write_str("bus reset"),
            }
        }
    }

    impl Adapter {
        pub(crate) fn trace_line(&mut self, line: &str) {
            let (time, adapter) = (self.s.time, self.config.adapter);
            if let Some(sink) = &mut self.trace {
                sink(&format!("{time:?} aic{adapter}: {line}"));
            }
        }

        pub(crate) fn trace_event(&mut self, event: &BusEvent<'_>) {
            if let Some(sink) = &mut self.bus_trace {
                sink(event);
            }
            if self.trace.is_some() {
                self.trace_line(&event.to_string());
            }
        }

        pub(crate) fn trace_instruction(&mut self) {
            if self.trace.is_some() && self.trace_sequencer {
                let pc = self.s.pc;
                let line = format!("{pc:03x}: {}", disassemble(self.s.ram[pc as usize & 0x1ff]));
                self.trace_line(&line);
            }
        }
    }
}

#[cfg(feature = "trace")]
pub use sink::BusEvent;
#[cfg(feature = "trace")]
pub(crate) use sink::{BusSink, Sink, message_text, tag_text};
