//! The rules every device keeps, under random accesses, inputs, time, resets and saved states.

mod rig;

use proptest::prelude::*;
use rig::{contract, hostile_state, ops};
use slotone_bus::{At, Device, TestPort, WindowId};
use slotone_chipset_440bx::*;

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
    ($($name:ident: $make:expr, $inputs:expr;)*) => {$(
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(128))]
                #[test]
                fn keeps_the_contract(ops in ops($inputs)) {
                    contract(|| $make, &ops);
                }

                #[test]
                fn survives_hostile_states(ops in ops($inputs), at in any::<usize>(), value in any::<u8>()) {
                    hostile_state(|| $make, &ops, at, value);
                }
            }
        }
    )*};
}

contracts! {
    host_bridge: HostBridge::new(HostBridgeConfig::new(64 << 20)), 0;
    host_bridge_agp: HostBridge::new(HostBridgeConfig { device_id: 0x7190, ..HostBridgeConfig::new(1 << 30) }), 0;
    isa_bridge: IsaBridge::new(IsaBridgeConfig::default()), 9;
    pic: Pic::new(), 16;
    pit: Pit::new(), 1;
    dma: Dma::new(), 0;
    clock: rtc(), 1;
    power: pm(), 0;
}
