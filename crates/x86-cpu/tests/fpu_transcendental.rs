//! The transcendental instructions against correctly rounded results of an independent library.

use slotone_x86_cpu::fpu::{F80, Fpu, FpuCx};

/// Cases: second opcode byte, rounding control, ST(0), ST(1), result. Made with mpmath at 2500 bits.
const VECTORS: &str = include_str!("fpu_transcendental_vectors.txt");

fn number(text: &str) -> F80 {
    let (se, sig) = text.split_once(':').expect("exponent:significand");
    F80::new(u16::from_str_radix(se, 16).expect("hex"), u64::from_str_radix(sig, 16).expect("hex"))
}

#[test]
fn results_are_correctly_rounded() {
    let mut seen = 0;
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let opcode = u8::from_str_radix(fields[0], 16).expect("hex");
        let rc: u16 = fields[1].parse().expect("0 to 3");
        let (x, y, expected) = (number(fields[2]), number(fields[3]), number(fields[4]));
        let mut fpu = Fpu::new();
        fpu.fninit();
        fpu.set_control_word(0x037F | rc << 10);
        fpu.fld_f80(y);
        fpu.fld_f80(x);
        fpu.execute_reg(0xD9, opcode, &mut FpuCx::default()).expect("exists");
        // FPTAN pushed 1.0.
        let result = fpu.st(u8::from(opcode == 0xF2));
        assert_eq!(result, expected, "{line}");
        seen += 1;
    }
    assert!(seen > 1000, "only {seen} vectors");
}
