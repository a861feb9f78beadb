//! The image's source, assembled along with the test.

core::arch::global_asm!(
    include_str!("boot.s"),
    include_str!("common.s"),
    include_str!("real.s"),
    include_str!("gates.s"),
    include_str!("v86.s"),
    include_str!("tasks.s"),
    include_str!("interrupts.s"),
    include_str!("debug.s"),
    include_str!("landing.s"),
    include_str!("segments.s"),
    include_str!("exceptions.s"),
    include_str!("paging.s"),
    include_str!("system.s"),
    include_str!("x87.s"),
    include_str!("end.s"),
    options(att_syntax, raw)
);

unsafe extern "C" {
    static slotone_boot_suite: u8;
    static slotone_boot_suite_end: u8;
}

/// Boot sector and body as the assembler made them.
pub(crate) fn assembled() -> &'static [u8] {
    let first = &raw const slotone_boot_suite;
    // SAFETY: the two symbols bound the image in this program's read-only data.
    unsafe {
        let len = (&raw const slotone_boot_suite_end).offset_from(first);
        std::slice::from_raw_parts(first, usize::try_from(len).expect("they are in order"))
    }
}
