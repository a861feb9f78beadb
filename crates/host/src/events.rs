//! The host's I/O thread: waits for file descriptors with rust-vmm's event-manager.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, RemoteEndpoint};
use thiserror::Error;

/// Why the event thread cannot do something.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EventError {
    /// epoll or the thread itself.
    #[error("cannot watch host files: {0}")]
    Manager(String),
    /// The thread cannot be started.
    #[error("cannot start the event thread: {0}")]
    Thread(#[from] io::Error),
}

impl From<event_manager::Error> for EventError {
    fn from(e: event_manager::Error) -> Self {
        Self::Manager(e.to_string())
    }
}

type Sink = Box<dyn FnMut(&[u8]) + Send>;

/// Feeds what can be read from a file to a closure; an empty slice says that the end is reached.
struct Reader {
    file: File,
    sink: Sink,
    done: bool,
}

impl Reader {
    /// Reads once. Returns whether there may be more.
    fn pump(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.file.read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Ok(0) | Err(_) => {
                    (self.sink)(&[]);
                    return false;
                }
                Ok(n) => {
                    (self.sink)(&buffer[..n]);
                    return true;
                }
            }
        }
    }
}

impl MutEventSubscriber for Reader {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        if ops.add(Events::new(&self.file, EventSet::IN)).is_err() {
            // Regular files and /dev/null cannot be waited for, but never block either.
            while self.pump() {}
            self.done = true;
        }
    }

    fn process(&mut self, _: Events, ops: &mut EventOps<'_>) {
        if !self.done && !self.pump() {
            self.done = true;
            // Failing to stop watching would only repeat this call.
            let _ = ops.remove(Events::empty_raw(self.file.as_raw_fd()));
        }
    }
}

type Subscriber = Box<dyn MutEventSubscriber + Send>;

/// A thread that waits for host files and hands over what they say.
#[derive(Debug)]
pub struct EventThread {
    endpoint: Endpoint,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Endpoint(RemoteEndpoint<Subscriber>);

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RemoteEndpoint")
    }
}

impl EventThread {
    /// Starts the thread, with nothing to wait for.
    ///
    /// # Errors
    /// [`EventError`] if the host gives no epoll or thread.
    pub fn start() -> Result<Self, EventError> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        // The manager is not `Send`: it is made where it lives, and its endpoint sent back.
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("host-events".into()).spawn(move || {
            let mut manager = match EventManager::<Subscriber>::new() {
                Ok(manager) => manager,
                Err(e) => {
                    let _ = sender.send(Err(e));
                    return;
                }
            };
            if sender.send(Ok(manager.remote_endpoint())).is_err() {
                return;
            }
            while !seen.load(Ordering::Acquire) {
                if manager.run().is_err() {
                    return;
                }
            }
        })?;
        let endpoint = receiver.recv().map_err(|_| EventError::Manager("the thread ended".into()))??;
        Ok(Self { endpoint: Endpoint(endpoint), stop, thread: Some(thread) })
    }

    /// Hands every byte that can be read from `file` to `sink`, on the event thread; an empty slice at the end.
    ///
    /// # Errors
    /// [`EventError`] if the thread has ended.
    pub fn read(&self, file: File, sink: impl FnMut(&[u8]) + Send + 'static) -> Result<(), EventError> {
        let subscriber: Subscriber = Box::new(Reader { file, sink: Box::new(sink), done: false });
        self.endpoint.0.call_blocking(move |manager| -> Result<(), event_manager::Error> {
            manager.add_subscriber(subscriber);
            Ok(())
        })?;
        Ok(())
    }
}

impl Drop for EventThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if self.endpoint.0.kick().is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn a_pipe_and_a_regular_file_are_read_to_their_ends() {
        let events = EventThread::start().unwrap();
        let (sender, receiver) = channel();
        let (read, mut write) = io::pipe().unwrap();
        let from_pipe = sender.clone();
        events
            .read(File::from(std::os::fd::OwnedFd::from(read)), move |b| {
                from_pipe.send(b.to_vec()).unwrap();
            })
            .unwrap();
        write.write_all(b"over the wire").unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)).unwrap(), b"over the wire");
        drop(write);
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)).unwrap(), b"");

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"on disk").unwrap();
        io::Seek::rewind(&mut file).unwrap();
        events.read(file, move |b| sender.send(b.to_vec()).unwrap()).unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)).unwrap(), b"on disk");
    }
}
