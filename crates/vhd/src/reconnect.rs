//! A child whose parent moved.

use std::path::Path;
use std::sync::Arc;

use crate::create::describe_parent;
use crate::dynamic::footer_start;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{DiskKind, FOOTER_LEN, Footer, HEADER_LEN, Header};
use crate::image::Image;
use crate::storage::{FileStorage, Lock, Storage};
use crate::vhd::{OpenOptions, Vhd};

/// Writes into a differencing disk where its parent is now. The parent must have the id that the child was made on, unless `any_id`: then
/// the child takes that parent, and the content is the caller's responsibility.
///
/// # Errors
/// The parent is another disk ([`ErrorKind::ParentNotFound`], which has both ids; `any_id` takes it) or larger than the child, or either
/// file is in use or cannot be written.
pub fn reconnect(child: impl AsRef<Path>, parent: impl AsRef<Path>, any_id: bool) -> Result<()> {
    let (child, parent) = (child.as_ref(), parent.as_ref());
    crate::undo::refuse_if_active(child)?;
    let storage: Arc<dyn Storage> = Arc::new(FileStorage::open(child, true, Lock::Exclusive)?);
    let parent = OpenOptions::new().read_only(true).open(parent).map_err(|e| {
        // The parent's own chain leads to the child, which this call holds.
        if matches!(e.kind(), ErrorKind::Locked { .. }) && e.path() == child {
            Error::new(child, ErrorKind::ChainCycle(child.to_owned()))
        } else {
            e
        }
    })?;
    reconnect_storage(storage, child, &parent, any_id)
}

/// As [`reconnect`] in any storage.
///
/// # Errors
/// As [`reconnect`].
pub fn reconnect_storage(storage: Arc<dyn Storage>, path: &Path, parent: &Vhd, any_id: bool) -> Result<()> {
    let image = Image::load(storage, path, OpenOptions::new().load(true))?;
    let Some(d) = image.dynamic().filter(|_| image.kind == DiskKind::Differencing) else {
        return Err(
            image.error(ErrorKind::Unsupported(format!("a {} disk has no parent", image.kind.name())))
        );
    };
    let wanted = d.layout.header.parent_id();
    if wanted != parent.id() && !any_id {
        return Err(image.error(ErrorKind::ParentNotFound {
            id: wanted,
            name: d.layout.header.parent_name(),
            tried: vec![crate::error::TriedParent {
                path: parent.path().to_owned(),
                why: format!("that disk is {}", parent.id()),
            }],
        }));
    }
    if parent.chain_ids().any(|id| id == image.footer.id()) {
        return Err(image.error(ErrorKind::ChainCycle(path.to_owned())));
    }
    if parent.size() > image.size {
        return Err(image.error(ErrorKind::ParentTooLarge {
            parent: parent.path().to_owned(),
            size: image.size,
            found: parent.size(),
        }));
    }
    let storage = &*image.storage;
    let bat = d.meta().bat.clone();
    let end = d.layout.end(&bat);
    let work = || -> std::result::Result<(), ErrorKind> {
        let mut header = d.layout.header.clone();
        for index in 0..crate::format::LOCATORS {
            header.set_locator(index, crate::format::Locator::NONE);
        }
        // The new paths go behind everything, where the trailing footer is: that one moves first.
        let room = Room::new(storage, &image.footer, end, d.aligned())?;
        describe_parent(storage, path, &mut header, parent, room.locators)?;
        storage.sync()?;
        replace_header(storage, &image.footer, &header, d.layout.header_at, &room)
    };
    work().map_err(|e| image.error(e))
}

/// Room at the end of a file for locators and a header that is used for a moment.
struct Room {
    locators: u64,
    header: u64,
    footer: u64,
    /// Where the footer goes in the end.
    rest: u64,
}

impl Room {
    /// Three paths: see `describe_parent`.
    const LOCATORS: u64 = 3 * crate::create::LOCATOR_ROOM;

    fn new(
        storage: &dyn Storage,
        footer: &Footer,
        end: u64,
        aligned: bool,
    ) -> std::result::Result<Self, ErrorKind> {
        let tail_at = storage.len()? - FOOTER_LEN as u64;
        let locators = tail_at.max(end).next_multiple_of(512);
        let header = locators + Self::LOCATORS;
        let new_tail = footer_start(header + HEADER_LEN as u64, aligned);
        storage.set_len(new_tail + FOOTER_LEN as u64)?;
        storage.write_at(new_tail, &footer.to_bytes())?;
        storage.sync()?;
        Ok(Self { locators, header, footer: new_tail, rest: footer_start(header, aligned) })
    }
}

/// A header is two sectors, which a power cut may tear apart. So the new one is written elsewhere, the footers point at it, it is
/// written to the old place as well, and the footers point there again. A footer is one sector.
fn replace_header(
    storage: &dyn Storage,
    footer: &Footer,
    header: &Header,
    at: u64,
    room: &Room,
) -> std::result::Result<(), ErrorKind> {
    storage.write_at(room.header, &header.to_bytes())?;
    storage.sync()?;
    let mut aside = footer.clone();
    aside.set_data_offset(room.header);
    let switch = |f: &Footer| -> std::result::Result<(), ErrorKind> {
        for place in [room.footer, 0] {
            storage.write_at(place, &f.to_bytes())?;
            storage.sync()?;
        }
        Ok(())
    };
    switch(&aside)?;
    storage.write_at(at, &header.to_bytes())?;
    storage.sync()?;
    switch(footer)?;
    if room.rest < room.footer {
        storage.write_at(room.rest, &footer.to_bytes())?;
        storage.sync()?;
        storage.set_len(room.rest + FOOTER_LEN as u64)?;
        storage.sync()?;
    }
    Ok(())
}
