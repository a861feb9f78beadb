use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::RwLock;

use super::Storage;

const PAGE: u64 = 4096;

#[derive(Default)]
struct Pages {
    len: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

/// An image in memory; pages that were never written take no room.
#[derive(Default)]
pub struct MemStorage {
    inner: RwLock<Pages>,
}

impl fmt::Debug for MemStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemStorage").finish_non_exhaustive()
    }
}

impl MemStorage {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Holding `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let s = Self::default();
        {
            let mut p = s.inner.write().unwrap_or_else(PoisonError::into_inner);
            p.len = bytes.len() as u64;
            for (i, page) in bytes.chunks(PAGE as usize).enumerate() {
                if page.iter().any(|b| *b != 0) {
                    let mut full = vec![0; PAGE as usize];
                    full[..page.len()].copy_from_slice(page);
                    p.pages.insert(i as u64, full.into());
                }
            }
        }
        s
    }

    /// All bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let p = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let mut out = vec![0; p.len as usize];
        for (i, page) in &p.pages {
            let at = (i * PAGE) as usize;
            let n = page.len().min(out.len() - at);
            out[at..at + n].copy_from_slice(&page[..n]);
        }
        out
    }
}

impl Pages {
    /// Calls `f(page, range in it, range in the request)` for each page that `offset..offset + len` touches.
    fn split(offset: u64, len: usize, mut f: impl FnMut(u64, Range<usize>, Range<usize>)) {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let inside = (at % PAGE) as usize;
            let n = (PAGE as usize - inside).min(len - done);
            f(at / PAGE, inside..inside + n, done..done + n);
            done += n;
        }
    }

    fn zero(&mut self, offset: u64, len: u64) {
        let end = offset + len;
        let touched: Vec<u64> =
            self.pages.range(offset / PAGE..end.div_ceil(PAGE)).map(|(i, _)| *i).collect();
        for i in touched {
            let (from, to) = (offset.max(i * PAGE), end.min((i + 1) * PAGE));
            if to - from == PAGE {
                self.pages.remove(&i);
            } else if let Some(page) = self.pages.get_mut(&i) {
                page[(from % PAGE) as usize..][..(to - from) as usize].fill(0);
            }
        }
    }
}

impl Storage for MemStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner.read().unwrap_or_else(PoisonError::into_inner).len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let p = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > p.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Pages::split(offset, buf.len(), |page, inside, outside| match p.pages.get(&page) {
            Some(data) => buf[outside].copy_from_slice(&data[inside]),
            None => buf[outside].fill(0),
        });
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let mut p = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let end = offset.checked_add(buf.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        p.len = p.len.max(end);
        Pages::split(offset, buf.len(), |page, inside, outside| {
            let data = p.pages.entry(page).or_insert_with(|| vec![0; PAGE as usize].into());
            data[inside].copy_from_slice(&buf[outside]);
        });
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut p = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if len < p.len {
            let old = p.len;
            p.zero(len, old - len);
            p.pages.split_off(&len.div_ceil(PAGE));
        }
        p.len = len;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        let mut p = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let len = len.min(p.len.saturating_sub(offset));
        if len > 0 {
            p.zero(offset, len);
        }
        Ok(true)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let p = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: Option<Range<u64>> = None;
        for i in p.pages.range(offset / PAGE..).map(|(i, _)| *i) {
            match &mut found {
                None => found = Some((i * PAGE).max(offset)..(i + 1) * PAGE),
                Some(r) if r.end == i * PAGE => r.end += PAGE,
                Some(_) => break,
            }
        }
        Ok(found.map(|r| r.start..r.end.min(p.len)).filter(|r| r.start < r.end))
    }

    fn allocated(&self) -> Option<u64> {
        Some(self.inner.read().unwrap_or_else(PoisonError::into_inner).pages.len() as u64 * PAGE)
    }

    fn identity(&self) -> Option<(u64, u64)> {
        Some((0, std::ptr::from_ref(self).addr() as u64))
    }
}
