//! The tracer: the sequencer's instructions and the SCSI bus in words.

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

#[cfg(feature = "trace")]
mod sink {
    use crate::adapter::Adapter;
    use crate::asm::disassemble;

    /// Receives lines.
    pub(crate) type Sink = Box<dyn FnMut(&str) + Send>;

    impl Adapter {
        pub(crate) fn trace_line(&mut self, line: &str) {
            let (time, adapter) = (self.s.time, self.config.adapter);
            if let Some(sink) = &mut self.trace {
                sink(&format!("{time:?} aic{adapter}: {line}"));
            }
        }

        pub(crate) fn trace_instruction(&mut self) {
            if self.trace.is_some() && self.trace_sequencer {
                let pc = self.s.pc;
                let line = format!("{pc:03x}: {}", disassemble(self.s.ram[usize::from(pc) & 0x1ff]));
                self.trace_line(&line);
            }
        }
    }
}

#[cfg(feature = "trace")]
pub(crate) use sink::Sink;
