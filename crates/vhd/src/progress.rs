use std::ops::ControlFlow;

use crate::error::ErrorKind;

/// Called now and then with what is done and what there is to do, in bytes; `Break` stops at the next point at which all files are
/// valid.
pub type Progress<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

pub(crate) fn tell(progress: &mut Progress<'_>, done: u64, total: u64) -> Result<(), ErrorKind> {
    match progress(done, total) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(ErrorKind::Interrupted),
    }
}

/// For callers who do not want to be told.
pub fn quiet() -> impl FnMut(u64, u64) -> ControlFlow<()> {
    |_, _| ControlFlow::Continue(())
}
