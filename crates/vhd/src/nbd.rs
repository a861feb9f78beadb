//! A disk over NBD (Network Block Device), as a server.
//!
//! Fixed newstyle handshake, simple and structured replies, block status (`base:allocation`), flush, FUA, trim, write-zeroes, several
//! connections at once. No TLS: who can connect can do what the disk allows, so listen on a Unix socket or on the loopback address.
//! Blocking; a thread per connection, which the caller starts:
//!
//! ```no_run
//! # use std::sync::Arc;
//! use slotone_vhd::{Vhd, nbd::Export};
//!
//! let export = Export::new(Arc::new(Vhd::open("disk.vhd")?));
//! let listener = std::os::unix::net::UnixListener::bind("disk.sock")?;
//! std::thread::scope(|scope| {
//!     for stream in listener.incoming().flatten() {
//!         let export = &export;
//!         scope.spawn(move || export.serve(stream));
//!     }
//! });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use slotone_block::{BlockError, read_exact};

use crate::source::Source;

const MAGIC: u64 = 0x4E42_444D_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454F_5054;
const REPLY_MAGIC: u64 = 0x0003_E889_0455_65A9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_MAGIC: u32 = 0x668E_33EF;

/// Longest request: what clients may send without asking, by the protocol.
const MAX_REQUEST: u32 = 32 << 20;
/// Longest option that is looked at.
const MAX_OPTION: u32 = 64 << 10;
/// Data of a structured reply come in pieces of this size.
const PIECE: usize = 1 << 20;
/// Extents of one block-status reply.
const MAX_EXTENTS: usize = 4096;
const CONTEXT: &str = "base:allocation";
const CONTEXT_ID: u32 = 1;

mod option {
    pub(super) const EXPORT_NAME: u32 = 1;
    pub(super) const ABORT: u32 = 2;
    pub(super) const LIST: u32 = 3;
    pub(super) const INFO: u32 = 6;
    pub(super) const GO: u32 = 7;
    pub(super) const STRUCTURED_REPLY: u32 = 8;
    pub(super) const LIST_META_CONTEXT: u32 = 9;
    pub(super) const SET_META_CONTEXT: u32 = 10;
}

mod reply {
    pub(super) const ACK: u32 = 1;
    pub(super) const SERVER: u32 = 2;
    pub(super) const INFO: u32 = 3;
    pub(super) const META_CONTEXT: u32 = 4;
    pub(super) const ERR_UNSUPPORTED: u32 = 1 << 31 | 1;
    pub(super) const ERR_INVALID: u32 = 1 << 31 | 3;
    pub(super) const ERR_UNKNOWN: u32 = 1 << 31 | 6;
    pub(super) const ERR_TOO_BIG: u32 = 1 << 31 | 9;
}

mod command {
    pub(super) const READ: u16 = 0;
    pub(super) const WRITE: u16 = 1;
    pub(super) const DISCONNECT: u16 = 2;
    pub(super) const FLUSH: u16 = 3;
    pub(super) const TRIM: u16 = 4;
    pub(super) const CACHE: u16 = 5;
    pub(super) const WRITE_ZEROES: u16 = 6;
    pub(super) const BLOCK_STATUS: u16 = 7;
}

mod chunk {
    pub(super) const NONE: u16 = 0;
    pub(super) const OFFSET_DATA: u16 = 1;
    pub(super) const BLOCK_STATUS: u16 = 5;
    pub(super) const ERROR: u16 = 1 << 15 | 1;
    pub(super) const DONE: u16 = 1;
}

/// Error numbers of the protocol.
mod errno {
    pub(super) const EPERM: u32 = 1;
    pub(super) const EIO: u32 = 5;
    pub(super) const EINVAL: u32 = 22;
    pub(super) const ENOSPC: u32 = 28;
}

/// A disk that is served.
#[derive(Debug)]
pub struct Export {
    disk: Arc<dyn Source>,
    name: String,
    /// Writes that do not cover whole sectors read, change and write: one at a time.
    partial: Mutex<()>,
}

#[derive(Default)]
struct Negotiated {
    structured: bool,
    context: bool,
    no_zeroes: bool,
}

#[derive(Clone, Copy)]
struct Request {
    flags: u16,
    command: u16,
    handle: u64,
    offset: u64,
    len: u32,
}

impl Export {
    /// Serves `disk` under the empty name; read-only if it is.
    pub fn new(disk: Arc<dyn Source>) -> Self {
        Self { disk, name: String::new(), partial: Mutex::new(()) }
    }

    /// Under this name as well.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    fn flags(&self) -> u16 {
        // HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES, CAN_MULTI_CONN, SEND_CACHE; READ_ONLY.
        let always = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10;
        always | u16::from(self.disk.info().read_only) << 1
    }

    /// Serves one client until it disconnects, then makes its writes durable.
    ///
    /// # Errors
    /// The connection broke, or the client does not keep to the protocol.
    pub fn serve(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = stream;
        let served = match self.negotiate(&mut stream)? {
            Some(terms) => self.transmit(&mut stream, &terms),
            None => Ok(()),
        };
        self.disk.flush().map_err(io::Error::other)?;
        served
    }

    /// `None`: the client went away in good order.
    fn negotiate(&self, s: &mut (impl Read + Write)) -> io::Result<Option<Negotiated>> {
        let mut hello = Vec::with_capacity(18);
        hello.extend(MAGIC.to_be_bytes());
        hello.extend(OPTION_MAGIC.to_be_bytes());
        // FIXED_NEWSTYLE and NO_ZEROES.
        hello.extend(3u16.to_be_bytes());
        s.write_all(&hello)?;
        let flags = u32::from_be_bytes(get(s)?);
        let mut terms = Negotiated { no_zeroes: flags & 2 != 0, ..Negotiated::default() };
        loop {
            if u64::from_be_bytes(get(s)?) != OPTION_MAGIC {
                return Err(protocol("an option without its magic number"));
            }
            let option = u32::from_be_bytes(get(s)?);
            let len = u32::from_be_bytes(get(s)?);
            if len > MAX_OPTION {
                io::copy(&mut s.take(u64::from(len)), &mut io::sink())?;
                answer(s, option, reply::ERR_TOO_BIG, &[])?;
                continue;
            }
            let mut data = vec![0; len as usize];
            s.read_exact(&mut data)?;
            match option {
                option::EXPORT_NAME => {
                    if !self.is_name(&data) {
                        return Err(protocol("no such export"));
                    }
                    let mut out = self.disk.info().capacity.to_be_bytes().to_vec();
                    out.extend(self.flags().to_be_bytes());
                    if !terms.no_zeroes {
                        out.extend([0; 124]);
                    }
                    s.write_all(&out)?;
                    return Ok(Some(terms));
                }
                option::ABORT => {
                    // It may be gone already.
                    let _ = answer(s, option, reply::ACK, &[]);
                    return Ok(None);
                }
                option::LIST if data.is_empty() => {
                    let mut entry = (self.name.len() as u32).to_be_bytes().to_vec();
                    entry.extend(self.name.as_bytes());
                    answer(s, option, reply::SERVER, &entry)?;
                    answer(s, option, reply::ACK, &[])?;
                }
                option::INFO | option::GO => {
                    let Some(name) = string(&data, 0) else {
                        answer(s, option, reply::ERR_INVALID, &[])?;
                        continue;
                    };
                    if !self.is_name(name) {
                        answer(s, option, reply::ERR_UNKNOWN, b"no such export")?;
                        continue;
                    }
                    let mut info = 0u16.to_be_bytes().to_vec();
                    info.extend(self.disk.info().capacity.to_be_bytes());
                    info.extend(self.flags().to_be_bytes());
                    answer(s, option, reply::INFO, &info)?;
                    let mut sizes = 3u16.to_be_bytes().to_vec();
                    for size in [1, self.disk.info().physical_block.max(512), MAX_REQUEST] {
                        sizes.extend(size.to_be_bytes());
                    }
                    answer(s, option, reply::INFO, &sizes)?;
                    answer(s, option, reply::ACK, &[])?;
                    if option == option::GO {
                        return Ok(Some(terms));
                    }
                }
                option::STRUCTURED_REPLY if data.is_empty() => {
                    terms.structured = true;
                    answer(s, option, reply::ACK, &[])?;
                }
                option::LIST_META_CONTEXT | option::SET_META_CONTEXT if terms.structured => {
                    let set = option == option::SET_META_CONTEXT;
                    match self.wants_context(&data, !set) {
                        None => answer(s, option, reply::ERR_INVALID, &[])?,
                        Some(wanted) => {
                            if set {
                                terms.context = wanted;
                            }
                            if wanted {
                                let mut c = CONTEXT_ID.to_be_bytes().to_vec();
                                c.extend(CONTEXT.as_bytes());
                                answer(s, option, reply::META_CONTEXT, &c)?;
                            }
                            answer(s, option, reply::ACK, &[])?;
                        }
                    }
                }
                _ => answer(s, option, reply::ERR_UNSUPPORTED, &[])?,
            }
        }
    }

    fn is_name(&self, name: &[u8]) -> bool {
        name.is_empty() || name == self.name.as_bytes()
    }

    /// Whether `base:allocation` is among the queries; `None` if they make no sense.
    fn wants_context(&self, data: &[u8], all_if_none: bool) -> Option<bool> {
        let name = string(data, 0)?;
        if !self.is_name(name) {
            return None;
        }
        let mut at = 4 + name.len();
        let count = u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?);
        at += 4;
        let mut wanted = count == 0 && all_if_none;
        for _ in 0..count {
            let query = string(data, at)?;
            wanted |= query == CONTEXT.as_bytes() || query == b"base:";
            at += 4 + query.len();
        }
        Some(wanted)
    }

    fn transmit(&self, s: &mut (impl Read + Write), terms: &Negotiated) -> io::Result<()> {
        let mut buf = Vec::new();
        loop {
            let mut head = [0u8; 28];
            match s.read_exact(&mut head) {
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            }
            if head[..4] != REQUEST_MAGIC.to_be_bytes() {
                return Err(protocol("a request without its magic number"));
            }
            let r = Request {
                flags: u16::from_be_bytes([head[4], head[5]]),
                command: u16::from_be_bytes([head[6], head[7]]),
                handle: u64::from_be_bytes(head[8..16].try_into().unwrap_or_default()),
                offset: u64::from_be_bytes(head[16..24].try_into().unwrap_or_default()),
                len: u32::from_be_bytes(head[24..28].try_into().unwrap_or_default()),
            };
            if r.command == command::DISCONNECT {
                return Ok(());
            }
            if r.command == command::WRITE {
                if r.len > MAX_REQUEST {
                    return Err(protocol("a write that is too long"));
                }
                buf.resize(r.len as usize, 0);
                s.read_exact(&mut buf)?;
            }
            match r.command {
                command::READ => self.read(s, r, terms, &mut buf)?,
                command::BLOCK_STATUS => self.block_status(s, r, terms)?,
                _ => {
                    let done = self.change(r, &buf);
                    finish(s, r, terms, done.err().map(|e| number(&e)))?;
                }
            }
            // One large request must not hold on to its memory.
            if buf.capacity() > 4 * PIECE {
                buf = Vec::new();
            }
        }
    }

    fn in_range(&self, r: Request) -> bool {
        r.offset.checked_add(u64::from(r.len)).is_some_and(|end| end <= self.disk.info().capacity)
    }

    fn read(
        &self,
        s: &mut (impl Read + Write),
        r: Request,
        terms: &Negotiated,
        buf: &mut Vec<u8>,
    ) -> io::Result<()> {
        if !self.in_range(r) || r.len > MAX_REQUEST || r.len == 0 {
            return finish(s, r, terms, Some(errno::EINVAL));
        }
        if !terms.structured {
            // Whether it went well has to be said before the data.
            buf.resize(16 + r.len as usize, 0);
            let error = self.read_bytes(r.offset, &mut buf[16..]).err().map_or(0, |e| number(&e));
            buf[..4].copy_from_slice(&SIMPLE_MAGIC.to_be_bytes());
            buf[4..8].copy_from_slice(&error.to_be_bytes());
            buf[8..16].copy_from_slice(&r.handle.to_be_bytes());
            let end = if error == 0 { buf.len() } else { 16 };
            return s.write_all(&buf[..end]);
        }
        // DF asks for one piece.
        let piece = if r.flags & 4 != 0 { r.len as usize } else { PIECE };
        let mut done = 0;
        while done < r.len as usize {
            let n = (r.len as usize - done).min(piece);
            let at = r.offset + done as u64;
            buf.resize(28 + n, 0);
            if let Err(e) = self.read_bytes(at, &mut buf[28..]) {
                return finish(s, r, terms, Some(number(&e)));
            }
            done += n;
            let last = if done == r.len as usize { chunk::DONE } else { 0 };
            buf[..20].copy_from_slice(&chunk_head(r, last, chunk::OFFSET_DATA, n as u32 + 8));
            buf[20..28].copy_from_slice(&at.to_be_bytes());
            s.write_all(buf)?;
        }
        Ok(())
    }

    /// At any byte.
    fn read_bytes(&self, offset: u64, out: &mut [u8]) -> Result<(), BlockError> {
        let end = offset + out.len() as u64;
        if offset.is_multiple_of(512) && end.is_multiple_of(512) {
            return read_exact(&*self.disk, offset, out);
        }
        let first = offset & !511;
        let mut whole = vec![0; (end.next_multiple_of(512) - first) as usize];
        read_exact(&*self.disk, first, &mut whole)?;
        out.copy_from_slice(&whole[(offset - first) as usize..][..out.len()]);
        Ok(())
    }

    fn write_bytes(&self, offset: u64, data: &[u8], fua: bool) -> Result<(), BlockError> {
        let end = offset + data.len() as u64;
        if offset.is_multiple_of(512) && end.is_multiple_of(512) {
            return self.disk.write_at(offset, &[io::IoSlice::new(data)], fua);
        }
        let _one = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        let first = offset & !511;
        let mut whole = vec![0; (end.next_multiple_of(512) - first) as usize];
        read_exact(&*self.disk, first, &mut whole)?;
        whole[(offset - first) as usize..][..data.len()].copy_from_slice(data);
        self.disk.write_at(first, &[io::IoSlice::new(&whole)], fua)
    }

    fn change(&self, r: Request, data: &[u8]) -> Result<(), BlockError> {
        let refused =
            |what: &str| Err(BlockError::Io(io::Error::new(io::ErrorKind::InvalidInput, what.to_owned())));
        let (offset, len) = (r.offset, u64::from(r.len));
        let fua = r.flags & 1 != 0;
        if r.command != command::FLUSH && !self.in_range(r) {
            let capacity = self.disk.info().capacity;
            return Err(BlockError::OutOfRange { offset, len, capacity });
        }
        match r.command {
            command::WRITE => self.write_bytes(offset, data, fua),
            command::FLUSH => self.disk.flush(),
            command::CACHE => Ok(()),
            command::TRIM => {
                // Whole sectors only: it is a hint.
                let (from, to) = (offset.next_multiple_of(512), (offset + len) & !511);
                if from < to {
                    self.disk.discard(from, to - from)?;
                }
                if fua { self.disk.flush() } else { Ok(()) }
            }
            command::WRITE_ZEROES => {
                let (from, to) = (offset.next_multiple_of(512), (offset + len) & !511);
                if from >= to {
                    return self.write_bytes(offset, &vec![0; len as usize], fua);
                }
                if offset < from {
                    self.write_bytes(offset, &vec![0; (from - offset) as usize], false)?;
                }
                if to < offset + len {
                    self.write_bytes(to, &vec![0; (offset + len - to) as usize], false)?;
                }
                self.disk.write_zeroes(from, to - from, fua)
            }
            _ => refused("unknown command"),
        }
    }

    fn block_status(&self, s: &mut (impl Read + Write), r: Request, terms: &Negotiated) -> io::Result<()> {
        if !terms.context || !self.in_range(r) || r.len == 0 {
            return finish(s, r, terms, Some(errno::EINVAL));
        }
        let (mut at, end) = (r.offset, r.offset + u64::from(r.len));
        // REQ_ONE.
        let most = if r.flags & 8 != 0 { 1 } else { MAX_EXTENTS };
        // Length and whether it is a hole that reads as zeros.
        let mut extents: Vec<(u32, bool)> = Vec::new();
        while at < end && extents.len() < most {
            let data = match self.disk.next_data(at & !511) {
                Ok(d) => d.filter(|d| d.start < end),
                Err(_) => return finish(s, r, terms, Some(errno::EIO)),
            };
            let (stop, hole) = match data {
                None => (end, true),
                Some(d) if d.start > at => (d.start, true),
                Some(d) => (d.end.min(end).max(at + 1), false),
            };
            let n = (stop - at) as u32;
            match extents.last_mut() {
                Some(last) if last.1 == hole => last.0 += n,
                _ => extents.push((n, hole)),
            }
            at = stop;
        }
        let mut out = chunk_head(r, chunk::DONE, chunk::BLOCK_STATUS, 4 + 8 * extents.len() as u32).to_vec();
        out.extend(CONTEXT_ID.to_be_bytes());
        for (len, hole) in extents {
            out.extend(len.to_be_bytes());
            // HOLE and ZERO.
            out.extend((if hole { 3u32 } else { 0 }).to_be_bytes());
        }
        s.write_all(&out)
    }
}

fn protocol(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the client sent {what}"))
}

fn number(e: &BlockError) -> u32 {
    match e {
        BlockError::ReadOnly => errno::EPERM,
        BlockError::NoSpace => errno::ENOSPC,
        BlockError::OutOfRange { .. } | BlockError::Unaligned { .. } => errno::EINVAL,
        BlockError::Io(e) if e.kind() == io::ErrorKind::InvalidInput => errno::EINVAL,
        _ => errno::EIO,
    }
}

fn get<const N: usize>(s: &mut impl Read) -> io::Result<[u8; N]> {
    let mut b = [0; N];
    s.read_exact(&mut b)?;
    Ok(b)
}

/// A string with its length in front.
fn string(data: &[u8], at: usize) -> Option<&[u8]> {
    let len = u32::from_be_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?) as usize;
    data.get(at + 4..(at + 4).checked_add(len)?)
}

fn answer(s: &mut impl Write, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut out = REPLY_MAGIC.to_be_bytes().to_vec();
    out.extend(option.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
    s.write_all(&out)
}

fn chunk_head(r: Request, flags: u16, kind: u16, len: u32) -> [u8; 20] {
    let mut h = [0; 20];
    h[..4].copy_from_slice(&STRUCTURED_MAGIC.to_be_bytes());
    h[4..6].copy_from_slice(&flags.to_be_bytes());
    h[6..8].copy_from_slice(&kind.to_be_bytes());
    h[8..16].copy_from_slice(&r.handle.to_be_bytes());
    h[16..].copy_from_slice(&len.to_be_bytes());
    h
}

/// The end of a request, or what went wrong.
fn finish(s: &mut impl Write, r: Request, terms: &Negotiated, error: Option<u32>) -> io::Result<()> {
    // Only reads and block status have to be answered by chunks.
    let structured = terms.structured && matches!(r.command, command::READ | command::BLOCK_STATUS);
    match (structured, error) {
        (true, Some(e)) => {
            let mut out = chunk_head(r, chunk::DONE, chunk::ERROR, 6).to_vec();
            out.extend(e.to_be_bytes());
            out.extend(0u16.to_be_bytes());
            s.write_all(&out)
        }
        (true, None) => s.write_all(&chunk_head(r, chunk::DONE, chunk::NONE, 0)),
        (false, e) => {
            let mut out = SIMPLE_MAGIC.to_be_bytes().to_vec();
            out.extend(e.unwrap_or(0).to_be_bytes());
            out.extend(r.handle.to_be_bytes());
            s.write_all(&out)
        }
    }
}
