//! The transcendental instructions.

use super::Fpu;

macro_rules! unfinished {
    ($($(#[$doc:meta])* $name:ident),*) => { impl Fpu { $($(#[$doc])* pub fn $name(&mut self) { self.underflow(); })* } };
}
unfinished!(
    /// F2XM1.
    f2xm1,
    /// FYL2X.
    fyl2x,
    /// FYL2XP1.
    fyl2xp1,
    /// FPTAN.
    fptan,
    /// FPATAN.
    fpatan,
    /// FSIN.
    fsin,
    /// FCOS.
    fcos,
    /// FSINCOS.
    fsincos
);
