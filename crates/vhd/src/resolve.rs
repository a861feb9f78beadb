//! Finding a child's parent.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{ErrorKind, Result};
use crate::format::{DiskId, Platform, to_host_path};
use crate::layout::LocatorText;
use crate::storage::{FileStorage, Lock, Storage};

/// What a child says of its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentInfo {
    /// The id that the parent must have.
    pub id: DiskId,
    /// The parent file's modification time, in seconds since 2000; 0 if not recorded.
    pub stamp: u32,
    /// Its name or path as in the child's header.
    pub name: String,
    /// The paths in the child's locators.
    pub locators: Vec<LocatorText>,
}

/// Where parents are looked for and how they are opened. The chain takes the first candidate that has the right id.
pub trait Resolver: Send + Sync + fmt::Debug {
    /// Places that may have the parent of `child`, best first.
    fn candidates(&self, child: &Path, parent: &ParentInfo) -> Vec<PathBuf>;

    /// Opens a candidate for reading only.
    ///
    /// # Errors
    /// Nothing usable is there.
    fn open(&self, path: &Path) -> Result<Arc<dyn Storage>>;
}

/// Looks for parents in the host's files: explicit overrides, relative locators, the bare name beside the child, absolute locators,
/// then the given folders; each also with another case of letters, as Windows would.
#[derive(Debug, Clone, Default)]
pub struct FileResolver {
    /// Tried before anything that the child says.
    pub overrides: Vec<PathBuf>,
    /// Folders to look in for the parent's bare name, last.
    pub folders: Vec<PathBuf>,
    /// Take no lock on parents.
    pub unlocked: bool,
}

impl Resolver for FileResolver {
    fn candidates(&self, child: &Path, parent: &ParentInfo) -> Vec<PathBuf> {
        // The child may be a link; its locators are relative to the file itself.
        let real = std::fs::canonicalize(child).unwrap_or_else(|_| child.to_owned());
        let dir = real.parent().unwrap_or(Path::new("."));
        let mut out: Vec<PathBuf> = Vec::new();
        let mut add = |p: PathBuf| {
            if !out.contains(&p) {
                out.push(p);
            }
        };
        self.overrides.iter().for_each(|p| add(p.clone()));
        let text = |wanted: &[Platform]| -> Vec<(Platform, &str)> {
            let mut found = Vec::new();
            for platform in wanted {
                let of = parent.locators.iter().filter(|l| l.platform == *platform);
                found.extend(of.filter_map(|l| Some((l.platform, l.text.as_deref()?))));
            }
            found
        };
        let all = [
            Platform::RelativeUnicode,
            Platform::RelativeAnsi,
            Platform::MacUrl,
            Platform::AbsoluteUnicode,
            Platform::AbsoluteAnsi,
        ];
        for (platform, t) in text(&all[..3]) {
            if let Some(p) = to_host_path(platform, t).filter(|p| p.is_relative()) {
                add(dir.join(p));
            }
        }
        // What any of the paths ends in, beside the child.
        let names: Vec<&str> = text(&all)
            .into_iter()
            .map(|(_, t)| t)
            .chain([parent.name.as_str()])
            .filter_map(|t| t.rsplit(['\\', '/']).next())
            .filter(|n| !n.is_empty() && *n != "." && *n != "..")
            .collect();
        names.iter().for_each(|n| add(dir.join(n)));
        for (platform, t) in text(&all[2..]) {
            if let Some(p) = to_host_path(platform, t).filter(|p| p.is_absolute()) {
                add(p);
            }
        }
        for folder in &self.folders {
            names.iter().for_each(|n| add(folder.join(n)));
        }
        out.into_iter().map(|p| other_case(&p).unwrap_or(p)).collect()
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn Storage>> {
        let lock = if self.unlocked { Lock::None } else { Lock::Shared };
        Ok(Arc::new(FileStorage::open(path, false, lock)?))
    }
}

/// The file of the same folder whose name differs only in the case of letters, if `path` itself does not exist.
fn other_case(path: &Path) -> Option<PathBuf> {
    if path.exists() {
        return None;
    }
    let wanted = path.file_name()?.to_str()?.to_lowercase();
    // A folder is read to its end only if it is of a sensible size.
    std::fs::read_dir(path.parent()?)
        .ok()?
        .take(10_000)
        .flatten()
        .find_map(|e| (e.file_name().to_str()?.to_lowercase() == wanted).then(|| e.path()))
}

/// Never finds a parent: for images that must stand alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoParents;

impl Resolver for NoParents {
    fn candidates(&self, _: &Path, _: &ParentInfo) -> Vec<PathBuf> {
        Vec::new()
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn Storage>> {
        Err(crate::error::Error::new(path, ErrorKind::Unsupported("parents are not looked for".into())))
    }
}

/// Parents in memory, by name: for tests and fuzzing.
#[derive(Debug, Clone, Default)]
pub struct MemResolver {
    /// Name and bytes of each image.
    pub images: Vec<(PathBuf, Arc<dyn Storage>)>,
}

impl Resolver for MemResolver {
    fn candidates(&self, _: &Path, _: &ParentInfo) -> Vec<PathBuf> {
        self.images.iter().map(|(p, _)| p.clone()).collect()
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn Storage>> {
        let found = self.images.iter().find(|(p, _)| p == path).map(|(_, s)| s.clone());
        found
            .ok_or_else(|| crate::error::Error::new(path, std::io::Error::from(std::io::ErrorKind::NotFound)))
    }
}
