//! Frames on a stream: four bytes of length, most significant first, and the frame, as QEMU's `-netdev stream` and passt have it.

use super::port::Link;
use slotone_net::MAX_FRAME;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// A length beyond this is no length: the stream is out of step.
const LONGEST: usize = 1 << 17;
/// Bytes that wait to be written at most.
const PENDING: usize = 256 << 10;
const CHUNK: usize = 64 << 10;

/// Takes frames out of a stream's bytes.
#[derive(Debug, Default)]
pub(super) struct Splitter(Vec<u8>);

impl Splitter {
    /// Adds bytes and gives the frames that are complete; frames longer than [`MAX_FRAME`] are left out.
    pub(super) fn push(&mut self, bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        let mut rest = &self.0[..];
        while let Some((length, body)) = rest.split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*length) as usize;
            if len > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of an impossible length"));
            }
            let Some((frame, after)) = body.split_at_checked(len) else { break };
            if len <= MAX_FRAME {
                take(frame);
            }
            rest = after;
        }
        let done = self.0.len() - rest.len();
        self.0.drain(..done);
        Ok(())
    }
}

/// A stream that does not block.
#[derive(Debug)]
pub(super) struct Framed {
    stream: UnixStream,
    input: Splitter,
    chunk: Vec<u8>,
    output: Vec<u8>,
    written: usize,
}

impl Framed {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, input: Splitter::default(), chunk: vec![0; CHUNK], output: Vec::new(), written: 0 })
    }

    pub(super) fn has_room(&self) -> bool {
        self.output.len() - self.written < PENDING
    }

    pub(super) fn push(&mut self, frame: &[u8]) {
        self.output.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        self.output.extend_from_slice(frame);
    }
}

impl Link for Framed {
    fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    fn read(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        match self.stream.read(&mut self.chunk) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => self.input.push(&self.chunk[..n], take),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<bool> {
        if !self.has_room() && !self.flush()? {
            return Ok(false);
        }
        self.push(frame);
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.output.drain(..self.written);
                    self.written = 0;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whatever_the_pieces_are() {
        let frames: Vec<Vec<u8>> = [0, 1, 60, 1514, MAX_FRAME].iter().map(|n| vec![7; *n]).collect();
        let mut bytes = Vec::new();
        for frame in &frames {
            bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        // One that is too long for the contract is left out, the next one comes.
        bytes.extend_from_slice(&5000u32.to_be_bytes());
        bytes.extend_from_slice(&[1; 5000]);
        bytes.extend_from_slice(&[0, 0, 0, 1, 9]);
        for size in [1, 3, 64, 5000, 100_000] {
            let (mut splitter, mut got) = (Splitter::default(), Vec::new());
            for piece in bytes.chunks(size) {
                splitter.push(piece, &mut |frame| got.push(frame.to_vec())).unwrap();
            }
            assert_eq!(got.len(), frames.len() + 1);
            assert_eq!(got[..frames.len()], frames);
            assert_eq!(got[frames.len()], [9]);
        }
        assert!(Splitter::default().push(&[0, 2, 0, 1], &mut |_| {}).is_err());
    }
}
