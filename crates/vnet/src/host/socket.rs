//! A unix socket that someone else serves: QEMU's `-netdev stream`, passt, or a hub of your own.

use super::HostError;
use super::framed::Framed;
use super::port::serve;
use crate::threaded::HostPort;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long until a connection that broke is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// A port that is connected to the socket at `path`. If the connection breaks, the link is down until there is another one.
///
/// # Errors
/// [`HostError::Path`] if nobody listens there now.
pub fn open_socket(path: &Path) -> Result<HostPort, HostError> {
    let path = path.to_path_buf();
    let error = |error| HostError::Path(path.clone(), error);
    let stream = UnixStream::connect(&path).map_err(error)?;
    let mut link = Some(Framed::new(stream).map_err(error)?);
    let target = path.clone();
    HostPort::spawn("socket", false, move |outside| {
        while !outside.stopped() {
            let next = link.take().map_or_else(|| UnixStream::connect(&target).and_then(Framed::new), Ok);
            let end = next.and_then(|mut framed| {
                outside.set_link(true, None);
                serve(outside, &mut framed)
            });
            match end {
                Ok(()) => return,
                Err(error) => outside.set_link(false, Some(format!("{}: {error}", target.display()))),
            }
            outside.wait(AGAIN);
        }
    })
    .map_err(|error| HostError::Path(path, error))
}
