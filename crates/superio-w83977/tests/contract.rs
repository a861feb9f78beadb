//! The rules every device keeps, under random accesses, time, resets and saved states.

mod rig;

use proptest::prelude::*;
use rig::{contract, hostile_state, ops};
use slotone_superio_w83977::*;

fn uart(pacing: Pacing, fifo_64: bool) -> Uart {
    Uart::new(UartConfig { pacing, fifo_64, ..UartConfig::new(0x3f8) })
}

macro_rules! contracts {
    ($($name:ident: $make:expr;)*) => {$(
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(128))]
                #[test]
                fn keeps_the_contract(ops in ops(0)) {
                    contract(|| $make, &ops);
                }

                #[test]
                fn survives_hostile_states(ops in ops(0), at in any::<usize>(), value in any::<u8>()) {
                    hostile_state(|| $make, &ops, at, value);
                }
            }
        }
    )*};
}

contracts! {
    uart_immediate: uart(Pacing::Immediate, false);
    uart_paced: uart(Pacing::Baud, true);
    keyboard: Kbc::new();
    configuration: SuperIo::new(&[0x370, 0x3f0]);
}
