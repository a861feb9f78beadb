//! Images made by others: the content is the one that independent readers agree on.

mod common;

use common::{content_hash, samples};
use slotone_vhd::format::geometry_for;
use slotone_vhd::{DiskKind, ErrorKind, OpenOptions, Vhd};

const ZEROS_40M: &str = "80a3721188e40218b08b26776bc53bdae81e4784fff71d71450a197319cba113";

const EXPECTED: &[(&str, DiskKind, u64, &str)] = &[
    (
        "ext2.vhd",
        DiskKind::Dynamic,
        4_212_736,
        "870be7ae16c1fa8faab05c6eb9205dc9a7ae35c5f552c5cf8a267c0bc6a5cb99",
    ),
    (
        "ntfs-differential.vhd",
        DiskKind::Differencing,
        4_194_304,
        "b7922a46a6b08fa4f4fc0c51a25d5587d1d49f15cfade45ca740dd07110ae144",
    ),
    (
        "ntfs-dynamic.vhd",
        DiskKind::Dynamic,
        4_194_304,
        "8b10b52e3d1e76075d05a5101a6536b9fa8376a5b8f7c22f502d0987d165c876",
    ),
    (
        "ntfs-parent.vhd",
        DiskKind::Fixed,
        4_194_304,
        "c91d1766dd4b3327f33a082cbf958d3566dd84a3d71c2473a5ae6155e53171de",
    ),
    (
        "qemu.vhd",
        DiskKind::Dynamic,
        41_953_280,
        "258dd1ab1617727f344d71220c5093e04d7909b1e13b31bfa810edac4f6fa04f",
    ),
    ("vbox.vhd", DiskKind::Dynamic, 41_943_040, ZEROS_40M),
    ("win8-child.vhd", DiskKind::Differencing, 41_943_040, ZEROS_40M),
    ("win8.vhd", DiskKind::Dynamic, 41_943_040, ZEROS_40M),
    ("xapi.vhd", DiskKind::Dynamic, 41_943_040, ZEROS_40M),
];

#[test]
fn content_of_every_sample() {
    let dir = tempfile::tempdir().unwrap();
    samples(dir.path());
    for (name, kind, size, hash) in EXPECTED {
        let disk = OpenOptions::new().read_only(true).open(dir.path().join(name)).unwrap();
        assert_eq!((disk.kind(), disk.size()), (*kind, *size), "{name}");
        assert_eq!(content_hash(&disk), *hash, "{name}");
        assert_eq!(disk.geometry(), geometry_for(*size), "{name}");
    }
}

#[test]
fn opening_for_writing_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    samples(dir.path());
    for (name, ..) in EXPECTED {
        let path = dir.path().join(name);
        let before = std::fs::read(&path).unwrap();
        Vhd::open(&path).unwrap().close().unwrap();
        assert!(std::fs::read(&path).unwrap() == before, "{name}");
    }
}

#[test]
fn a_windows_child_knows_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    samples(dir.path());
    let child = OpenOptions::new().read_only(true).open(dir.path().join("ntfs-differential.vhd")).unwrap();
    assert_eq!(child.chain().count(), 2);
    assert!(
        child.locators().iter().any(|l| l.text.as_deref() == Some(".\\ntfs-parent.vhd")),
        "{:?}",
        child.locators()
    );
    drop(child);

    std::fs::remove_file(dir.path().join("ntfs-parent.vhd")).unwrap();
    let e = OpenOptions::new().read_only(true).open(dir.path().join("ntfs-differential.vhd")).unwrap_err();
    let ErrorKind::ParentNotFound { tried, .. } = e.kind() else { panic!("{e}") };
    assert!(!tried.is_empty());
    assert!(e.to_string().contains("ntfs-parent.vhd"), "{e}");

    // Another disk in its place is not taken for it.
    std::fs::copy(dir.path().join("ntfs-dynamic.vhd"), dir.path().join("ntfs-parent.vhd")).unwrap();
    let e = OpenOptions::new().read_only(true).open(dir.path().join("ntfs-differential.vhd")).unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::ParentNotFound { .. }), "{e}");
    assert!(e.to_string().contains("that disk is"), "{e}");
}
