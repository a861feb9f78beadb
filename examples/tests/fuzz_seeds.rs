//! The seeds of the fuzz targets, replayed on a stable compiler: every target over `fuzz/seeds/TARGET/`, each seed as it is and in a few
//! small variations. To run one input, a crash for instance: `FUZZ_TARGET=cpu FUZZ_INPUT=path cargo test -p slotone-examples --test fuzz_seeds`.

#[path = "../../fuzz/bodies/mod.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "public for the fuzz targets, which are a workspace of their own"
)]
mod bodies;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bodies::{Body, Random, TARGETS, text};
use slotone_fuzz_kit::Script;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn seeds(target: &str) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(fuzz().join("seeds").join(target)).map(|dir| dir.map(|e| e.unwrap().path()));
    let mut files: Vec<PathBuf> = entries.map(Iterator::collect).unwrap_or_default();
    files.sort();
    files
}

/// Runs a body; a panic becomes one that names the input and has its text.
fn run(target: &str, body: Body, what: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| body(input))).is_err() {
        let script = Script::from_input(input);
        let text = if is_script(target) { script.to_string() } else { text::to_text(&text::bytes(input)) };
        panic!("{target} failed on {what}:\n{text}");
    }
}

/// Whether a target's input is an operation script; else it is bytes.
fn is_script(target: &str) -> bool {
    let source = fuzz().join("fuzz_targets").join(format!("{target}.rs"));
    std::fs::read_to_string(source).unwrap().contains("script_target!")
}

/// The bytes that a fuzzer would begin with.
fn plain(target: &str, seed: &[u8]) -> Vec<u8> {
    if is_script(target) { Script::from_input(seed).to_bytes() } else { text::bytes(seed).into_owned() }
}

fn replay(target: &str) {
    let (_, body) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of that name");
    let mut random = Random(1);
    for file in seeds(target) {
        let seed = std::fs::read(&file).unwrap();
        let name = file.display().to_string();
        run(target, *body, &name, &seed);
        let bytes = plain(target, &seed);
        if is_script(target) {
            assert_eq!(Script::from_bytes(&bytes), Script::from_input(&seed), "{name} is too long a script");
        }
        for n in 0..3 {
            let mut near = bytes.clone();
            for _ in 0..=n {
                if !near.is_empty() {
                    let at = random.below(near.len() as u64) as usize;
                    near[at] = random.next() as u8;
                }
            }
            run(target, *body, &format!("{name}, changed"), &near);
        }
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        /// Targets with a test here, in the list of bodies, in `fuzz/Cargo.toml`, and with seeds: the same in all four places.
        #[test]
        fn every_target_has_seeds_and_a_test() {
            let here: BTreeSet<String> = [$(stringify!($name)),*].map(String::from).into();
            let listed: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_string()).collect();
            assert_eq!(here, listed);
            let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
            let programs = manifest.lines().filter_map(|l| l.strip_prefix("path = \"fuzz_targets/"));
            let programs = programs.map(|l| l.trim_end_matches(".rs\"").to_string());
            assert_eq!(programs.collect::<BTreeSet<_>>(), here);
            for target in &here {
                assert!(!seeds(target).is_empty(), "{target} has no seeds");
            }
            let folders = std::fs::read_dir(fuzz().join("seeds")).unwrap();
            let folders = folders.map(|e| e.unwrap().file_name().into_string().unwrap());
            assert_eq!(folders.collect::<BTreeSet<_>>(), here, "seeds of a target that is not there");
        }
    };
}

targets! {
    aic7870_registers aic7870_sequencer block bus chipset_dma chipset_host_bridge chipset_isa_bridge chipset_pic chipset_pit chipset_pm chipset_rtc cpu dhcp firmware ide machine nat
    pci s3trio scsi_cdrom scsi_disk scsi_faulty srom superio_config superio_kbc superio_uart switch tulip vhd_chain vhd_disk vhd_footer vhd_header vhd_locators vhd_open
}

#[test]
fn one_input() {
    let (Some(target), Some(path)) = (std::env::var_os("FUZZ_TARGET"), std::env::var_os("FUZZ_INPUT")) else {
        return;
    };
    let (name, body) = TARGETS.iter().find(|(name, _)| target == *name).expect("FUZZ_TARGET names a target");
    let input = std::fs::read(&path).expect("FUZZ_INPUT names a file");
    run(name, *body, &path.to_string_lossy(), &input);
}

#[test]
fn text_and_bytes_are_the_same_input() {
    let mut random = Random(7);
    for n in 0..200 {
        let mut bytes: Vec<u8> = (0..n * 3).map(|_| random.next() as u8).collect();
        bytes.extend(std::iter::repeat_n(random.next() as u8, n * 2));
        assert_eq!(text::from_text(text::to_text(&bytes).as_bytes()), Some(bytes));
    }
    let text = "# hex\n0102 # comment\n  \"AB\" 3*ff\n\n";
    assert_eq!(text::from_text(text.as_bytes()), Some(vec![1, 2, b'A', b'B', 0xff, 0xff, 0xff]));
    assert_eq!(text::from_text(b"# hex\n012"), None);
}
