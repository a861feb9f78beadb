//! demo
pub(crate) fn run(_: &super::args::Args) -> Result<u8, super::failure::Failure> {
    Ok(0)
}
