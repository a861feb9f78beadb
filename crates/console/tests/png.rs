//! PNG files: they decode to what went in, and failures leave nothing behind.

use slotone_console::{Image, PngError, encode_png, save_png};
use std::path::PathBuf;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("slotone-console-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_picture_survives_the_round_trip() {
    let rgb: Vec<u8> = (0..7 * 5 * 3).map(|i| (i * 37) as u8).collect();
    let bytes = encode_png(&Image { width: 7, height: 5, rgb: &rgb }).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut out = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut out).unwrap();
    assert_eq!((info.width, info.height, info.color_type), (7, 5, png::ColorType::Rgb));
    assert_eq!(out, rgb);
}

#[test]
fn sizes_that_do_not_match_are_refused() {
    for (width, height, len) in [(0, 0, 0), (1, 1, 2), (u32::MAX, u32::MAX, 3)] {
        let rgb = vec![0; len];
        let error = encode_png(&Image { width, height, rgb: &rgb }).unwrap_err();
        assert!(matches!(error, PngError::Size { .. }));
    }
}

#[test]
fn a_file_is_whole_or_as_it_was() {
    let folder = folder("whole");
    let path = folder.join("screen.png");
    std::fs::write(&path, b"old").unwrap();
    save_png(&path, &Image { width: 1, height: 1, rgb: &[0; 3] }).unwrap();
    assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));

    let missing = folder.join("no-such-folder").join("screen.png");
    let error = save_png(&missing, &Image { width: 1, height: 1, rgb: &[0; 3] }).unwrap_err();
    assert!(error.to_string().contains("no-such-folder"), "{error}");
    // A folder cannot be replaced by a file; what was written beside it is gone again.
    let taken = folder.join("taken");
    std::fs::create_dir(&taken).unwrap();
    assert!(save_png(&taken, &Image { width: 1, height: 1, rgb: &[0; 3] }).is_err());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    std::fs::remove_dir_all(&folder).unwrap();
}
