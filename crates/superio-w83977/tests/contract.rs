//! The rules every device keeps, under random accesses, time, resets, saved states and damaged ones.

use proptest::prelude::*;
use slotone_fuzz_kit::{Harness, Script, assert_rules};
use slotone_superio_w83977::*;

fn uart(pacing: Pacing, fifo_64: bool) -> Uart {
    Uart::new(UartConfig { pacing, fifo_64, ..UartConfig::new(0x3f8) })
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
    uart_immediate: uart(Pacing::Immediate, false);
    uart_paced: uart(Pacing::Baud, true);
    keyboard: Kbc::new();
    configuration: SuperIo::new(&[0x370, 0x3f0]);
}
