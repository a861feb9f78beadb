//! One file of a chain.

use std::io::{IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::dynamic::{Below, Dynamic};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{DiskKind, Footer};
use crate::io::part_mut;
use crate::layout::{Footers, Layout};
use crate::storage::Storage;

/// Which of an image's two sizes is the disk's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SizePolicy {
    /// The footer's `current_size`: what Hyper-V, Azure, XenServer and Disk2vhd mean. Never cuts anything off.
    #[default]
    CurrentSize,
    /// What the footer's geometry covers: what Virtual PC and Virtual Server show a guest.
    Geometry,
    /// By the creator: geometry for Virtual PC, Virtual Server and qemu unless it is the largest one, `current_size` for others.
    ByCreator,
}

/// How an image is loaded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) writable: bool,
    pub(crate) size: SizePolicy,
    pub(crate) table_limit: u64,
    pub(crate) bitmap_limit: usize,
    /// No syncs.
    pub(crate) bulk: bool,
}

#[derive(Debug)]
pub(crate) enum Body {
    Fixed,
    Dynamic(Box<Dynamic>),
}

#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) path: PathBuf,
    pub(crate) footer: Footer,
    pub(crate) kind: DiskKind,
    pub(crate) size: u64,
    pub(crate) body: Body,
    pub(crate) warnings: Vec<String>,
    bulk: bool,
    /// Something was written since the last sync.
    unsynced: AtomicBool,
    flushing: Mutex<()>,
}

impl Image {
    pub(crate) fn load(storage: Arc<dyn Storage>, path: &Path, load: Load) -> Result<Self> {
        Self::load_kind(storage, path, load).map_err(|k| Error::new(path, k))
    }

    fn load_kind(storage: Arc<dyn Storage>, path: &Path, load: Load) -> std::result::Result<Self, ErrorKind> {
        let footers = Footers::read(&*storage)?;
        let (len, tail_at) = (footers.len, footers.tail_at);
        let tail_good = footers.tail.is_ok();
        let (footer, note) = footers.choose()?;
        let mut warnings: Vec<String> = note.into_iter().collect();
        let kind = footer.kind()?;
        let declared = footer.checked_size()?;
        let chs = footer.geometry().total_sectors() * 512;
        let size = match load.size {
            SizePolicy::CurrentSize => declared,
            SizePolicy::Geometry if chs != 0 => chs,
            SizePolicy::Geometry => declared,
            SizePolicy::ByCreator => footer.size_by_creator(),
        };
        crate::format::check_size(kind, size)?;
        if kind == DiskKind::Fixed {
            if size > tail_at {
                return Err(ErrorKind::Truncated { what: "a fixed disk", needed: size + 512, have: len });
            }
            let path = path.to_owned();
            return Ok(Self {
                storage,
                path,
                footer,
                kind,
                size,
                body: Body::Fixed,
                warnings,
                bulk: load.bulk,
                unsynced: AtomicBool::new(false),
                flushing: Mutex::new(()),
            });
        }
        let mut layout = Layout::read(&*storage, &footer, size, load.table_limit, false)?;
        let bat = layout.read_table(&*storage)?;
        layout.yield_to_blocks(&bat);
        for index in &layout.bad_locators {
            warnings.push(ErrorKind::LocatorOutOfFile { index: *index }.to_string());
        }
        let mut wrong = None;
        layout.check_table(&bat, len, |e| {
            wrong = Some(e);
            false
        });
        if let Some(e) = wrong {
            return Err(e);
        }
        let dynamic = Dynamic::new(
            layout,
            bat,
            &footer,
            size,
            kind == DiskKind::Dynamic,
            len,
            tail_good.then_some(tail_at),
            load.bitmap_limit,
            load.bulk,
        );
        if load.writable && !tail_good {
            dynamic.restore_tail(&*storage)?;
        }
        let body = Body::Dynamic(Box::new(dynamic));
        Ok(Self {
            storage,
            path: path.to_owned(),
            footer,
            kind,
            size,
            body,
            warnings,
            bulk: load.bulk,
            unsynced: AtomicBool::new(false),
            flushing: Mutex::new(()),
        })
    }

    pub(crate) fn dynamic(&self) -> Option<&Dynamic> {
        match &self.body {
            Body::Fixed => None,
            Body::Dynamic(d) => Some(d),
        }
    }

    pub(crate) fn error(&self, kind: impl Into<ErrorKind>) -> Error {
        Error::new(&self.path, kind)
    }

    /// Reads what this image has; `below` gets the rest.
    pub(crate) fn read(
        &self,
        offset: u64,
        skip: u64,
        len: u64,
        bufs: &mut [IoSliceMut<'_>],
        below: &mut Below<'_>,
    ) -> std::result::Result<(), ErrorKind> {
        match &self.body {
            Body::Fixed => Ok(part_mut(bufs, skip, len, |list| self.storage.read_vectored_at(offset, list))?),
            Body::Dynamic(d) => d.read(&*self.storage, offset, skip, len, bufs, below),
        }
    }

    pub(crate) fn write(&self, offset: u64, bufs: &[IoSlice<'_>]) -> std::result::Result<(), ErrorKind> {
        let done = match &self.body {
            Body::Fixed => self.storage.write_vectored_at(offset, bufs).map_err(ErrorKind::from),
            Body::Dynamic(d) => d.write(&*self.storage, offset, bufs),
        };
        self.changed();
        done
    }

    /// To be called behind each change, before the caller hears of it.
    pub(crate) fn changed(&self) {
        self.unsynced.store(true, Ordering::Release);
    }

    /// Makes all changes durable. Costs nothing when there were none since the last time; waits for one that is going on.
    pub(crate) fn flush(&self) -> std::result::Result<(), ErrorKind> {
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.unsynced.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let done = match &self.body {
            Body::Fixed if self.bulk => Ok(()),
            Body::Fixed => self.storage.sync().map_err(ErrorKind::from),
            Body::Dynamic(d) => d.flush(&*self.storage),
        };
        if done.is_err() {
            self.changed();
        }
        done
    }

    pub(crate) fn close(&self) -> std::result::Result<(), ErrorKind> {
        match &self.body {
            Body::Fixed => Ok(()),
            Body::Dynamic(d) => d.close(&*self.storage),
        }
    }
}
