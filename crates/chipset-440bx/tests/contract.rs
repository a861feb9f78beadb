//! The rules every device keeps, under random accesses, inputs, time, resets, saved states and damaged ones.

use proptest::prelude::*;
use slotone_bus::{At, Device, TestPort, WindowId};
use slotone_chipset_440bx::*;
use slotone_fuzz_kit::{Harness, Script, assert_rules};

fn rtc() -> Rtc {
    Rtc::new(DateTime::new(1999, 12, 31, 23, 59, 58).unwrap())
}

fn pm() -> Pm {
    let spd = SmbusMemory { address: 0x50, content: (0..=255).collect() };
    let mut pm = Pm::new(PmConfig { smbus: vec![spd], ..PmConfig::default() });
    // Open PMBA and SMBBA, or random writes would hardly ever reach their registers.
    let settings: [(u64, &[u8]); 5] =
        [(0x40, &[0, 4]), (0x80, &[1]), (0x90, &[0x40, 4]), (0xd2, &[9]), (0x04, &[1])];
    for (offset, data) in settings {
        TestPort::new(0).at(0, |cx| pm.write(cx, At { window: WindowId(0), offset }, data));
    }
    pm
}

macro_rules! contracts {
    ($($name:ident: $make:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(128))]
            $(#[test]
            fn $name(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
                assert_rules(|| Harness::new(|| $make), &Script::from_bytes(&bytes));
            })*
        }
    };
}

contracts! {
    host_bridge: HostBridge::new(HostBridgeConfig::new(64 << 20));
    host_bridge_agp: HostBridge::new(HostBridgeConfig { device_id: 0x7190, ..HostBridgeConfig::new(1 << 30) });
    isa_bridge: IsaBridge::new(IsaBridgeConfig::default());
    pic: Pic::new();
    pit: Pit::new();
    dma: Dma::new();
    clock: rtc();
    power: pm();
}
