//! A boot-sector suite: one disk image whose groups of programs print what the processor does, on ours, in QEMU and in Bochs.
//!
//! The sources are `boot_suite/*.s`; `boot_suite/image.bin` is what they assemble to, so that the suite runs where no x86
//! assembler is. `boot_suite/expected/` holds what every group prints, `boot_suite/qemu.txt` and `boot_suite/bochs.txt` where
//! that program prints something else, and why the manual is with us.
//!
//! `SLOTONE_BLESS=1` writes the image and the expected output anew: look at the diff before it is committed.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "boot_suite/asm.rs"]
mod asm;
#[path = "boot_suite/differences.rs"]
mod differences;
#[path = "boot_suite/machine.rs"]
mod machine;
#[path = "boot_suite/peers.rs"]
mod peers;

use std::fs;
use std::path::{Path, PathBuf};

use differences::Differences;
use peers::Peer;
use slotone_x86_cpu::CpuModel;

/// The groups in the order of the table in common.s.
const GROUPS: [&str; 17] = [
    "real",
    "pg",
    "segments",
    "gates",
    "paging",
    "exceptions",
    "tasks",
    "v86",
    "vme",
    "debug",
    "code16",
    "system",
    "cr4",
    "interrupts",
    "x87",
    "irq13",
    "triple",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boot_suite")
}

fn expected(group: &str) -> PathBuf {
    folder().join("expected").join(format!("{group}.txt"))
}

fn bless() -> bool {
    std::env::var_os("SLOTONE_BLESS").is_some_and(|v| v == "1")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The image with the group it runs.
fn image(group: usize) -> Vec<u8> {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    let mut image = asm::assembled().to_vec();
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    let mut image = include_bytes!("boot_suite/image.bin").to_vec();
    image[512 + 4] = u8::try_from(group).expect("there are few");
    image
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn the_committed_image_is_what_the_sources_assemble_to() {
    let path = folder().join("image.bin");
    if bless() {
        fs::write(&path, asm::assembled()).expect("the folder is there");
    }
    let committed = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let differs = asm::assembled().iter().zip(&committed).position(|(a, b)| a != b);
    assert!(
        differs.is_none() && committed.len() == asm::assembled().len(),
        "image.bin is not of these sources (first at {differs:x?}); SLOTONE_BLESS=1 makes it anew"
    );
}

#[test]
fn our_processor_prints_what_is_expected() {
    let model = CpuModel::by_name("pentium3").expect("a model of ours");
    let mut wrong = String::new();
    for (n, group) in GROUPS.iter().enumerate() {
        let ours = machine::run(model.clone(), &image(n));
        if bless() {
            fs::write(expected(group), &ours).expect("the folder is there");
        }
        wrong += &differences::report(group, &text(&expected(group)), &ours);
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The names within a group are what the lists of differences go by.
#[test]
fn every_line_has_a_name_of_its_own_and_every_group_ends() {
    for group in GROUPS {
        let all = text(&expected(group));
        let mut names: Vec<&str> = all.lines().map(differences::name).collect();
        assert_eq!(names.pop(), Some("SUITE-END"), "{group}");
        names.sort_unstable();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1], "in {group}");
        }
    }
}

#[test]
fn a_list_of_differences_is_neither_short_nor_long() {
    let list = |text: &str| Differences::parse(Path::new("list"), &format!("## A reason.\n{text}\n"));
    let expected = "one: 1\ntwo: 2\nSUITE-END\n";
    // (the list, what the peer prints, what the report begins with)
    for (entries, printed, report) in [
        ("", expected, ""),
        ("g | two: 3", "one: 1\ntwo: 3\nSUITE-END\n", ""),
        ("g | two: (no line)", "one: 1\nSUITE-END\n", ""),
        ("g | *: one: 1 / lost", "one: 1\nlost\n", ""),
        ("", "one: 1\ntwo: 3\nSUITE-END\n", "g | two: 3\n"),
        ("", "one: 1\ntwo: 2\n", "g | SUITE-END: (no line)\n"),
        ("", "one: 1\ntwo: 2\nthree: 3\nSUITE-END\n", "g: not expected: three"),
        ("", "one: 1\none: 1\ntwo: 2\nSUITE-END\n", "g: twice: one"),
        ("g | two: 3", expected, "differs no longer"),
        ("g | two: 3", "one: 1\ntwo: 4\nSUITE-END\n", "differs in another way"),
        ("g | *: one: 1 / lost", expected, "differs in another way"),
        ("g | three: 3", expected, "list: no such line: g | three"),
        ("h | one: 3", expected, "list: no such line: h | one"),
    ] {
        let mut list = list(entries);
        let said = list.check("g", expected, printed) + &list.unused();
        assert!(
            said.starts_with(report) && said.is_empty() == report.is_empty(),
            "{entries} {printed}: {said}"
        );
    }
}

fn compare(peer: Peer) {
    if !peer.present() {
        let how = format!("no {}; apt-get install {}", peer.program(), peer.packages());
        assert!(std::env::var_os("SLOTONE_CI").is_none_or(|v| v != "1"), "{how}");
        eprintln!("SKIP boot suite in {}: {how}", peer.name());
        return;
    }
    let mut list = Differences::read(&folder().join(format!("{}.txt", peer.name())));
    let outputs: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2)
            .map(|half| {
                scope.spawn(move || {
                    let mine = (0..GROUPS.len()).filter(|n| n % 2 == half);
                    mine.map(|n| (n, peer.run(&image(n), GROUPS[n], GROUPS[n] == "triple")))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        runs.into_iter().flat_map(|run| run.join().expect("a runner does not panic")).collect()
    });
    let mut wrong = String::new();
    let mut lines = 0;
    for (n, output) in outputs {
        let expected = text(&expected(GROUPS[n]));
        lines += expected.lines().count();
        match output {
            Ok(theirs) => wrong += &list.check(GROUPS[n], &expected, &theirs),
            Err(why) => wrong += &format!("{}: {why}\n", GROUPS[n]),
        }
    }
    wrong += &list.unused();
    println!(
        "{}: {} groups, {lines} lines, {} of them known to differ",
        peer.name(),
        GROUPS.len(),
        list.len()
    );
    assert!(wrong.is_empty(), "{}\n{wrong}", peer.name());
}

#[test]
fn qemu_prints_the_same() {
    compare(Peer::Qemu);
}

#[test]
fn bochs_prints_the_same() {
    compare(Peer::Bochs);
}
