//! The soft float against LLVM's (`rustc_apfloat`): an independent judge that runs on every host.

use rustc_apfloat::ieee::{Double, Single, X87DoubleExtended};
use rustc_apfloat::{Float, FloatConvert, Round, Status, StatusAnd};
use slotone_x86_cpu::fpu::F80;
use slotone_x86_cpu::fpu::softfloat::{self, Class, DE, IE, OE, PE, UE, ZE};

#[path = "fpu_host/image.rs"]
mod image;
#[path = "fpu_host/operands.rs"]
mod operands;

use operands::Rng;

const ROUNDINGS: [(u16, Round); 4] = [
    (0, Round::NearestTiesToEven),
    (1, Round::TowardNegative),
    (2, Round::TowardPositive),
    (3, Round::TowardZero),
];

fn cases() -> usize {
    std::env::var("SLOTONE_FPU_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(100_000)
}

fn theirs(x: F80) -> X87DoubleExtended {
    X87DoubleExtended::from_bits(u128::from(x.se) << 64 | u128::from(x.sig))
}

/// A number both sides read alike: NaNs, unsupported formats and pseudo-denormals are the host test's matter.
fn number(rng: &mut Rng) -> F80 {
    loop {
        let (se, sig) = rng.f80();
        let x = F80::new(se, sig);
        let pseudo = x.exp() == 0 && sig >> 63 != 0;
        if matches!(x.class(), Class::Zero | Class::Normal | Class::Denormal | Class::Infinity) && !pseudo {
            return x;
        }
    }
}

fn flags_of(status: Status) -> u16 {
    [
        (Status::INVALID_OP, IE),
        (Status::DIV_BY_ZERO, ZE),
        (Status::OVERFLOW, OE),
        (Status::UNDERFLOW, UE),
        (Status::INEXACT, PE),
    ]
    .into_iter()
    .filter(|(bit, _)| status.contains(*bit))
    .fold(0, |sum, (_, flag)| sum | flag)
}

fn same(what: &str, a: F80, b: F80, cw: u16, ours: (F80, u16), theirs: StatusAnd<X87DoubleExtended>) {
    let bits = theirs.value.to_bits();
    let value = F80::new((bits >> 64) as u16, bits as u64);
    if ours.0.is_nan() {
        assert!(theirs.value.is_nan(), "{what} {a:?} {b:?} cw={cw:04X}: {:?}, theirs {value:?}", ours.0);
    } else {
        assert_eq!(ours.0, value, "{what} {a:?} {b:?} cw={cw:04X}");
    }
    // What rounds up to the smallest normal number is tiny to one of us and not to the other, and LLVM does not call
    // it an overflow when rounding stops at the largest number.
    let smallest = ours.0.exp() == 1 && ours.0.sig == 1 << 63;
    let largest = ours.0.exp() == 0x7FFE && ours.0.sig == u64::MAX;
    let mut mask = IE | ZE | OE | UE | PE;
    if smallest {
        mask &= !UE;
    }
    if largest {
        mask &= !OE;
    }
    assert_eq!(ours.1 & mask, flags_of(theirs.status) & mask, "{what} {a:?} {b:?} cw={cw:04X}: flags");
}

#[test]
fn arithmetic_agrees() {
    let mut rng = Rng::new(7);
    for n in 0..cases() {
        let (a, b) = (number(&mut rng), number(&mut rng));
        let (rc, round) = ROUNDINGS[n % 4];
        let cw = 0x037F | rc << 10;
        let (x, y) = (theirs(a), theirs(b));
        same("add", a, b, cw, softfloat::add(a, b, cw), x.add_r(y, round));
        same("sub", a, b, cw, softfloat::sub(a, b, cw), x.sub_r(y, round));
        same("mul", a, b, cw, softfloat::mul(a, b, cw), x.mul_r(y, round));
        same("div", a, b, cw, softfloat::div(a, b, cw), x.div_r(y, round));
        same("rint", a, a, cw, softfloat::round_to_int(a, cw), x.round_to_integral(round));
    }
}

#[test]
fn remainders_agree() {
    let mut rng = Rng::new(8);
    for _ in 0..cases() / 4 {
        let (a, b) = (number(&mut rng), number(&mut rng));
        if (a.exp() - b.exp()).abs() > 400 {
            continue;
        }
        // The chip reduces in steps; the composition of the steps is the remainder.
        let full = |step: fn(F80, F80, u16) -> softfloat::Remainder| {
            let mut r = step(a, b, 0x037F);
            while r.quotient == softfloat::Quotient::Partial {
                r = step(r.value, b, 0x037F);
            }
            (r.value, r.flags & !DE)
        };
        same("fprem", a, b, 0x037F, full(softfloat::rem), theirs(a).c_fmod(theirs(b)));
        same("fprem1", a, b, 0x037F, full(softfloat::rem_ieee), theirs(a).ieee_rem(theirs(b)));
    }
}

#[test]
fn conversions_agree() {
    let mut rng = Rng::new(9);
    for n in 0..cases() {
        let a = number(&mut rng);
        let (rc, round) = ROUNDINGS[n % 4];
        let cw = 0x037F | rc << 10;
        let mut lossy = false;
        let single: StatusAnd<Single> = theirs(a).convert_r(round, &mut lossy);
        assert_eq!(
            u128::from(softfloat::to_f32(a, cw).0),
            single.value.to_bits(),
            "{a:?} to single, rc {rc}"
        );
        let double: StatusAnd<Double> = theirs(a).convert_r(round, &mut lossy);
        assert_eq!(
            u128::from(softfloat::to_f64(a, cw).0),
            double.value.to_bits(),
            "{a:?} to double, rc {rc}"
        );
        let bits = rng.f64();
        let wide: StatusAnd<X87DoubleExtended> = Double::from_bits(u128::from(bits)).convert(&mut lossy);
        let (value, _) = softfloat::from_f64(bits);
        if !value.is_nan() {
            assert_eq!(theirs(value).to_bits(), wide.value.to_bits(), "from double {bits:016X}");
        }
        let mut exact = false;
        let integer = theirs(a).to_i128_r(64, round, &mut exact);
        let (value, flags) = softfloat::to_i64(a, rc);
        if integer.status.contains(Status::INVALID_OP) {
            assert_eq!((value, flags), (i64::MIN, IE), "{a:?} to integer, rc {rc}");
        } else {
            assert_eq!(
                (i128::from(value), flags & PE != 0),
                (integer.value, !exact && a.sig != 0),
                "{a:?}, rc {rc}"
            );
        }
    }
}
