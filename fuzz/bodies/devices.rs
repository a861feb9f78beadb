//! Chips under the harness of `slotone-fuzz-kit`: the input is an operation script. What a host event (`h`) means is said at each chip.

use slotone_block::layers::{ErrorLayer, On};
use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, MediumInfo};
use slotone_bus::Device;
use slotone_chipset_440bx::{
    DateTime, Dma, HostBridge, HostBridgeConfig, IsaBridge, IsaBridgeConfig, Pic, Pit, Pm, PmConfig, Rtc,
    SmbusMemory,
};
use slotone_fuzz_kit::{Harness, Script, assert_rules};
use slotone_ide_atapi::{CdConfig, DiskConfig, Drive, PciIde, Timing};
use slotone_s3trio::S3Trio;
use slotone_superio_w83977::{Kbc, KeyCode, ModemLines, Pacing, SuperIo, Uart, UartConfig};

fn run<D: Device>(input: &[u8], make: impl Fn() -> Harness<D>) -> Harness<D> {
    assert_rules(make, &Script::from_input(input))
}

/// 82443BX.
pub fn chipset_host_bridge(input: &[u8]) {
    run(input, || Harness::new(|| HostBridge::new(HostBridgeConfig::new(100 << 20))));
}

/// PIIX4 function 0 with the ports it serves.
pub fn chipset_isa_bridge(input: &[u8]) {
    run(input, || Harness::new(|| IsaBridge::new(IsaBridgeConfig::default())));
}

/// The pair of 8259s.
pub fn chipset_pic(input: &[u8]) {
    run(input, || Harness::new(Pic::new));
}

/// 8254.
pub fn chipset_pit(input: &[u8]) {
    run(input, || Harness::new(Pit::new));
}

/// The pair of 8237s and their page registers.
pub fn chipset_dma(input: &[u8]) {
    run(input, || Harness::new(Dma::new));
}

/// RTC and CMOS; starts a minute before the end of a leap year's February.
pub fn chipset_rtc(input: &[u8]) {
    run(input, || Harness::new(|| Rtc::new(DateTime::new(2004, 2, 29, 23, 59, 1).expect("a date"))));
}

/// PIIX4 function 3 with a memory on its SMBus. `h 0` presses the power button.
pub fn chipset_pm(input: &[u8]) {
    let make = || {
        let spd = SmbusMemory { address: 0x50, content: (0..128).collect() };
        Pm::new(PmConfig { smbus: vec![spd], ..PmConfig::default() })
    };
    run(input, || {
        Harness::new(make).with_host(|pm: &mut Pm, cx, event, _| {
            if event == 0 {
                pm.press_power_button(cx);
            }
        })
    });
}

/// 8042 with its keyboard. `h 0 K..` presses keys by number, `h 1 K..` releases them, `h 2 TEXT` types.
pub fn superio_kbc(input: &[u8]) {
    run(input, || {
        Harness::new(Kbc::new).with_host(|kbc: &mut Kbc, cx, event, data| match event {
            0 | 1 => {
                for number in data {
                    let key = KeyCode::ALL[usize::from(*number) % KeyCode::ALL.len()];
                    kbc.key(cx, key, event == 0);
                }
            }
            _ => {
                let text: String = data.iter().copied().map(char::from).collect();
                // What cannot be typed is refused.
                let _ = kbc.type_text(cx, &text);
            }
        })
    });
}

/// A 16550A that sends at once, and a 16750 at its true speed. `h 0 BYTES` arrives on the line, `h 1` is a break, `h 2 L` sets the
/// modem's lines.
pub fn superio_uart(input: &[u8]) {
    for (pacing, fifo_64) in [(Pacing::Immediate, false), (Pacing::Baud, true)] {
        let config = UartConfig { pacing, fifo_64, ..UartConfig::new(0x3f8) };
        let make = || {
            Harness::new(move || Uart::new(config)).with_host(
                |uart: &mut Uart, cx, event, data| match event {
                    0 => {
                        let room = uart.room();
                        let taken = uart.receive(cx, data);
                        assert!(
                            taken <= data.len() && taken <= room,
                            "{taken} of {} with room for {room}",
                            data.len()
                        );
                    }
                    1 => {
                        uart.receive_break(cx);
                    }
                    _ => {
                        let bits = data.first().copied().unwrap_or(0);
                        let [cts, dsr, ri, dcd] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
                        uart.set_modem(cx, ModemLines { cts, dsr, ri, dcd });
                    }
                },
            )
        };
        run(input, make);
    }
}

/// The configuration ports of the Super I/O.
pub fn superio_config(input: &[u8]) {
    run(input, || Harness::new(|| SuperIo::new(&[0x370, 0x3f0])));
}

/// S3 Trio64. `h 0` renders a picture, as does the end.
pub fn s3trio(input: &[u8]) {
    let harness = run(input, || Harness::new(S3Trio::new));
    let vram = harness.lent(S3Trio::VRAM).expect("it wants its memory lent");
    let vram = vram.slice(0, vram.len()).expect("all of it");
    let (chip, now) = (harness.device(), harness.now());
    let frame = chip.render(vram, now);
    assert_eq!(frame.rgb.len(), frame.width as usize * frame.height as usize * 3);
    if let Some(screen) = chip.text_screen(vram) {
        assert_eq!(screen.cells.len(), screen.rows * screen.columns);
    }
    // Less memory than there should be is no reason to panic either.
    chip.render(&vram[..4096], now);
    chip.text_screen(&[]);
}

fn info(sectors: u64) -> MediumInfo {
    MemoryDisk::new(sectors * 512).info().clone()
}

/// Where the CD drive is, and what lies in it.
const CD: u8 = 2;
const CD_SECTORS: u64 = 400;

fn drives(timing: Timing) -> PciIde {
    let disk =
        |sectors| Some(Drive::disk(DiskConfig { serial: "SN-1".into(), ..DiskConfig::new(info(sectors)) }));
    let cd = Drive::cdrom(CdConfig { medium: Some(info(CD_SECTORS)), ..CdConfig::default() });
    PciIde::new([disk(1000), disk(64), Some(cd), None], timing)
}

fn media() -> Vec<Option<Box<dyn BlockBackend>>> {
    // A disk with a bad sector, a good one, and a disc whose every block begins with its number.
    let first = ErrorLayer::new(MemoryDisk::new(1000 * 512)).bad(300 * 512..301 * 512, On::Both);
    let disc: Vec<u8> = (0..CD_SECTORS as u32).flat_map(|n| n.to_le_bytes().repeat(128)).collect();
    vec![
        Some(Box::new(first)),
        Some(Box::new(MemoryDisk::new(64 * 512))),
        Some(Box::new(MemoryDisk::from_bytes(&disc).read_only())),
        None,
    ]
}

/// PIIX4 function 1 with two disks and a CD drive, with drives that take time and with some that take none. `h 0` inserts the disc,
/// `h 1` ejects it.
pub fn ide(input: &[u8]) {
    let none = Timing { access: 0, sector: 0, command: 0, block: 0, reset: 0 };
    for timing in [Timing::default(), none] {
        run(input, || {
            Harness::new(move || drives(timing))
                .with_media(media())
                .with_prepare(|old: &PciIde, new: &mut PciIde| {
                    if old.cd(CD).is_ok_and(|cd| cd.blocks().is_none()) {
                        new.eject(CD).expect("a CD drive");
                    }
                })
                .with_host(|ide: &mut PciIde, _, event, _| {
                    let done = if event == 0 { ide.insert(CD, &info(CD_SECTORS)) } else { ide.eject(CD) };
                    done.expect("a CD drive");
                })
        });
    }
}
