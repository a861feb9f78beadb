//! The demonstration as a user runs it: all good, and with every device broken in turn.

use std::process::{Command, Output};

use slotone_vmm_core::vs2005::name;

/// Runs the program with counted time, so that how busy the host is makes no difference.
fn demonstration(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("screen.png");
    let output = Command::new(env!("CARGO_BIN_EXE_virtual-server-2005"))
        .args(["--clock", "counted", "--screenshot"])
        .arg(&picture)
        .args(arguments)
        .output()
        .unwrap();
    let has_video = !arguments.contains(&name::VGA);
    if output.status.code() != Some(2) {
        assert_eq!(picture.exists(), has_video, "a picture of the screen\n{}", text(&output));
    }
    output
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Devices on the lines that say who failed.
fn failed(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("failed: "));
    lines.filter_map(|line| line.split_once(':')).map(|(device, _)| device).collect()
}

/// With `--fault FAULT` it exits with 1 and names that device and no other.
fn is_named(fault: &str) {
    let output = demonstration(&["--fault", fault]);
    let text = text(&output);
    let device = fault.split('=').next().unwrap();
    assert_eq!(failed(&text), [device], "{text}");
    assert_eq!(output.status.code(), Some(1), "{text}");
}

#[test]
fn every_device_passes_and_the_picture_is_left() {
    let output = demonstration(&[]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let devices = name::ALL
        .iter()
        .chain(&["cpu", "memory", "bios", "hda", "hdb", "hdc", "nic0", "nic1"])
        .chain(&name::SCSI);
    for device in devices {
        let line = format!(" [ OK ] {device} ");
        assert!(text.lines().any(|l| l.contains(&line)), "{device}: {text}");
    }
    assert!(text.contains("\n25 devices passed, 0 failed, 6 not in this build\n"), "{text}");
    // The program and the host tell the same about what is missing.
    let absent = text.lines().find_map(|l| l.strip_prefix("not in this build: ")).expect("the host's list");
    let screen = text.split("\n [ -- ] ").nth(1).expect("the program's list");
    for device in absent.split(", ") {
        assert!(screen.split("\n\n").next().unwrap().contains(device), "{device}: {text}");
    }
}

#[test]
fn the_same_run_twice() {
    let stats = || {
        let text = text(&demonstration(&["--stats"]));
        let line = text.lines().find(|l| l.starts_with('{')).expect("statistics").to_string();
        let field = |name: &str| {
            let (_, rest) = line.split_once(&format!("\"{name}\":")).expect("a field");
            rest.split([',', '}']).next().unwrap().to_string()
        };
        ["instructions", "interrupts", "disk_bytes", "state_sha256"].map(field)
    };
    assert_eq!(stats(), stats());
}

#[test]
fn older_processors_and_little_memory_are_fine() {
    for arguments in
        [["--cpu-model", "486"], ["--cpu-model", "pentium"], ["--memory", "4"], ["--chipset-id", "7190"]]
    {
        let output = demonstration(&arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output));
    }
}

#[test]
fn a_run_can_be_cut_short_or_expect_something() {
    assert_eq!(demonstration(&["--exit-after", "0.3"]).status.code(), Some(124));
    assert_eq!(demonstration(&["--expect", "[ OK ] memory"]).status.code(), Some(0));
    assert_eq!(demonstration(&["--expect", "no such line"]).status.code(), Some(3));
    assert_eq!(demonstration(&["--fault", "flux-capacitor"]).status.code(), Some(2));
}

macro_rules! broken {
    ($($test:ident $fault:literal;)*) => {
        $(
            #[test]
            fn $test() {
                is_named($fault);
            }
        )*

        #[test]
        fn every_device_of_the_machine_is_broken_once() {
            assert!(name::ALL.iter().all(|name| [$($fault),*].contains(name)));
        }
    };
}
broken! {
    host_bridge "host-bridge";
    isa_bridge "isa-bridge";
    ide "ide";
    pm "pm";
    vga "vga";
    pic "pic";
    pit "pit";
    dma "dma";
    rtc "rtc";
    kbc "kbc";
    uart0 "uart0";
    uart1 "uart1";
    superio "superio";
    hda "hda";
    hdb "hdb";
    hdc "hdc";
    nic0 "nic0";
    nic1 "nic1";
    scsi0 "scsi0";
    scsi1 "scsi1";
    scsi2 "scsi2";
    scsi3 "scsi3";
    hda_with_errors "hda=error";
    hdb_with_errors "hdb=error";
    hdc_with_errors "hdc=error";
}
