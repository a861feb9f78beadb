//! Pictures and their PNG form.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A picture: red, green and blue bytes of each pixel, line by line from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image<'a> {
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// `width * height * 3` bytes.
    pub rgb: &'a [u8],
}

impl Image<'_> {
    /// Whether the bytes are as many as the size asks for, and not none.
    pub(crate) fn is_whole(&self) -> bool {
        let pixels = u64::from(self.width) * u64::from(self.height);
        pixels != 0 && pixels.checked_mul(3) == Some(self.rgb.len() as u64)
    }
}

/// Why a picture cannot be saved.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PngError {
    /// The size and the bytes do not belong together, or there is nothing to save.
    #[error("a picture of {width}x{height} pixels needs three bytes for each, found {len} bytes")]
    Size {
        /// Pixels in a line.
        width: u32,
        /// Lines.
        height: u32,
        /// Bytes found.
        len: usize,
    },
    /// The encoder failed.
    #[error("cannot encode the picture as PNG")]
    Encode(#[source] png::EncodingError),
    /// The file cannot be written; nothing is left of it.
    #[error("cannot write the picture to {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the host says.
        source: io::Error,
    },
}

/// The picture as the bytes of a PNG file, 8 bits a gun.
///
/// # Errors
/// [`PngError::Size`] if the bytes do not match the size.
pub fn encode_png(image: &Image<'_>) -> Result<Vec<u8>, PngError> {
    if !image.is_whole() {
        return Err(PngError::Size { width: image.width, height: image.height, len: image.rgb.len() });
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width, image.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    let mut writer = encoder.write_header().map_err(PngError::Encode)?;
    writer.write_image_data(image.rgb).map_err(PngError::Encode)?;
    writer.finish().map_err(PngError::Encode)?;
    Ok(bytes)
}

/// Saves the picture as a PNG file. It is written beside its place and moved there, so that a file of that name is
/// the whole picture or the one that was there before.
///
/// # Errors
/// [`PngError::Size`] if the bytes do not match the size, [`PngError::File`] if the host refuses.
pub fn save_png(path: &Path, image: &Image<'_>) -> Result<(), PngError> {
    let bytes = encode_png(image)?;
    let file = |source| PngError::File { path: path.to_path_buf(), source };
    let name = path.file_name().ok_or_else(|| file(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let (beside, mut new) = create_beside(path, name).map_err(file)?;
    let written =
        new.write_all(&bytes).and_then(|()| new.sync_all()).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(file)
}

/// A new file next to `path` under a name that nobody uses.
fn create_beside(path: &Path, name: &std::ffi::OsStr) -> io::Result<(PathBuf, File)> {
    let mut attempt = 0u32;
    loop {
        let mut temporary = name.to_os_string();
        temporary.push(format!(".{}-{attempt}.part", std::process::id()));
        let beside = path.with_file_name(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&beside) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => attempt += 1,
            other => return other.map(|file| (beside, file)),
        }
    }
}
