//! Whole machines: two in one process, saved and restored, run in slices.

use std::sync::Arc;

use slotone_block::memory::MemoryDisk;
use slotone_bus::VmInstant;
use slotone_superio_w83977::Uart;
use slotone_vmm_core::vs2005::name;
use slotone_vmm_core::{
    ClockMode, DriveBay, Machine, NANOS_PER_INSTRUCTION, OnTripleFault, RunExit, VirtualServer2005,
    virtual_server_2005,
};

/// A boot sector of `code`, which runs at 0000:7C00.
fn boot_sector(code: &[u8]) -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[..code.len()].copy_from_slice(code);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// Prints `letter` (1 to 31: the port is left at five bits) on COM1 for ever, once per timer tick: MOV DX,3F8h; MOV AL,letter; OUT DX,AL; HLT; JMP.
fn ticker(letter: u8) -> Vec<u8> {
    boot_sector(&[0xfb, 0xba, 0xf8, 0x03, 0xb0, letter, 0xee, 0xf4, 0xeb, 0xfa])
}

fn machine(disk: &[u8]) -> Machine {
    let disk = Arc::new(MemoryDisk::from_bytes(disk));
    let mut config =
        VirtualServer2005 { memory_mib: 4, clock: ClockMode::Counted, ..VirtualServer2005::new() };
    config.ide[0] = DriveBay::Disk(disk);
    let mut builder = virtual_server_2005(&config).unwrap();
    builder.on_triple_fault(OnTripleFault::Stop);
    builder.build().unwrap()
}

fn serial(machine: &mut Machine) -> Vec<u8> {
    let id = machine.find(name::UART0).unwrap();
    machine.with(id, |uart: &mut Uart, _| uart.take_output()).unwrap()
}

fn seconds(s: f64) -> VmInstant {
    VmInstant::from_nanos((s * 1e9) as u64)
}

/// When POST is over and the boot sector runs.
const BOOTED: f64 = 4.0;

#[test]
fn two_machines_in_one_process_share_nothing() {
    let (mut a, mut b) = (machine(&ticker(1)), machine(&ticker(2)));
    let mut out = (Vec::new(), Vec::new());
    for step in 1..=10 {
        let until = seconds(BOOTED + f64::from(step) * 0.1);
        assert_eq!(a.run(until), RunExit::Limit);
        assert_eq!(b.run(until), RunExit::Limit);
        out.0.extend(serial(&mut a));
        out.1.extend(serial(&mut b));
    }
    assert!(out.0.len() > 15 && out.0.iter().all(|c| *c == 1), "{:?}", out.0);
    assert_eq!(out.0.len(), out.1.len());
    assert!(out.1.iter().all(|c| *c == 2));
}

#[test]
fn the_same_run_in_one_piece_in_slices_and_from_a_saved_state() {
    let disk = ticker(b'x');
    let end = seconds(BOOTED + 0.5);
    let mut whole = machine(&disk);
    assert_eq!(whole.run(end), RunExit::Limit);

    let mut sliced = machine(&disk);
    let mut at = 0.0;
    while sliced.now() < end {
        at += 0.0137;
        sliced.run(seconds(at).min(end));
    }
    assert_eq!(sliced.retired(), whole.retired());
    assert_eq!(sliced.state_hash().unwrap(), whole.state_hash().unwrap());

    let mut first = machine(&disk);
    // In the middle of POST, with a disk request under way or not.
    first.run(seconds(0.31));
    let saved = first.save().unwrap();
    drop(first);
    let mut second = machine(&disk);
    second.restore(&saved).unwrap();
    let again = second.save().unwrap();
    let first_difference = again.iter().zip(&saved).position(|(a, b)| a != b);
    assert_eq!((first_difference, again.len()), (None, saved.len()));
    assert_eq!(second.run(end), RunExit::Limit);
    assert_eq!(second.state_hash().unwrap(), whole.state_hash().unwrap());
}

/// A run may end between two instructions' times, or with instructions done since time was last looked at.
#[test]
fn a_saved_state_keeps_time_to_the_nanosecond() {
    // INC AX; JMP, and HLT with interrupts off.
    for (code, ends) in [(&[0x40, 0xeb, 0xfd][..], RunExit::Limit), (&[0xfa, 0xf4], RunExit::Dead)] {
        let disk = boot_sector(code);
        let mut first = machine(&disk);
        let stop = seconds(BOOTED) + 3;
        assert_eq!(first.run(stop), ends);
        let mut second = machine(&disk);
        second.restore(&first.save().unwrap()).unwrap();
        for m in [&mut first, &mut second] {
            assert_eq!(m.run(stop + 777_777), ends);
        }
        assert_eq!((first.now(), first.retired()), (second.now(), second.retired()));
        assert_eq!(first.state_hash().unwrap(), second.state_hash().unwrap());
    }
}

/// [`RunExit::Dead`] comes at the time of the last instruction.
#[test]
fn the_dead_know_the_time() {
    let mut m = machine(&boot_sector(&[0xeb, 0xfe]));
    m.run(seconds(BOOTED));
    let (before, retired) = (m.now(), m.retired());
    m.physical_write(0x7c00, &[0x90, 0x90, 0xfa, 0xf4]);
    assert_eq!(m.run(seconds(30.0)), RunExit::Dead);
    assert!(m.retired() > retired + 2);
    // The first run ended within an instruction's time.
    let own = (m.retired() - retired) * NANOS_PER_INSTRUCTION;
    assert!((own..own + NANOS_PER_INSTRUCTION).contains(&m.now().since(before)), "{:?}", m.now());
}

#[test]
fn a_damaged_state_is_refused_and_the_machine_lives_on() {
    let mut m = machine(&ticker(b'x'));
    m.run(seconds(0.1));
    let saved = m.save().unwrap();
    for cut in (0..saved.len()).step_by(saved.len() / 50 + 1) {
        assert!(m.restore(&saved[..cut]).is_err());
    }
    let mut other = saved.clone();
    other[20] ^= 0x55;
    let _ = m.restore(&other);
    assert_eq!(m.run(m.now() + 1_000_000), RunExit::Limit);
}

#[test]
fn a_triple_fault_stops_or_resets() {
    // LIDT of an empty table, then INT 0.
    let code =
        [0x0f, 0x01, 0x1e, 0x10, 0x7c, 0xb8, 0x01, 0x00, 0x0f, 0x01, 0xf0, 0xcd, 0x00, 0, 0, 0, 0, 0, 0, 0];
    let mut m = machine(&boot_sector(&code));
    assert!(matches!(m.run(seconds(BOOTED)), RunExit::TripleFault { .. }));
}

#[test]
fn cli_and_hlt_is_the_end_unless_somebody_may_come() {
    let mut m = machine(&boot_sector(&[0xfa, 0xf4, 0xeb, 0xfe]));
    assert_eq!(m.run(seconds(30.0)), RunExit::Dead);
    let remote = m.remote();
    m.set_wait_for_host(true);
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        remote.stop();
    });
    assert_eq!(m.run(VmInstant::MAX), RunExit::Stopped);
    stopper.join().unwrap();
}

#[test]
fn a_measured_run_is_the_same_run() {
    let mut machines = [machine(&ticker(1)), machine(&ticker(1))];
    machines[1].measure_host_time(true);
    let [plain, measured] = &mut machines;
    assert_eq!((plain.run(seconds(0.3)), measured.run(seconds(0.3))), (RunExit::Limit, RunExit::Limit));
    assert_eq!(plain.state_hash().unwrap(), measured.state_hash().unwrap());
    let pit = measured.find(name::PIT).unwrap();
    assert_eq!(plain.host_time(pit), Default::default());
    let time = measured.host_time(pit);
    assert!(time.calls > 0 && time.seconds > 0.0 && time.seconds < 60.0, "{time:?}");
    measured.measure_host_time(false);
    assert_eq!(measured.host_time(pit).calls, 0);
}

#[test]
fn a_removed_device_leaves_open_bus() {
    let config = VirtualServer2005 { memory_mib: 4, clock: ClockMode::Counted, ..VirtualServer2005::new() };
    let mut builder = virtual_server_2005(&config).unwrap();
    let uart = builder.find(name::UART1).unwrap();
    builder.remove(uart).unwrap();
    let mut m = builder.build().unwrap();
    m.run(seconds(0.01));
    let mut byte = [0];
    m.physical_read(0xfec0_0000, &mut byte);
    assert_eq!(byte, [0xff]);
    assert!(m.device::<Uart>(uart).is_none());
}
