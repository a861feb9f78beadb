//! One HTTP connection: a request, a response, the end (RFC 9112 with `Connection: close`).

use super::content::{Content, Library};
use smoltcp::socket::tcp::Socket;

/// The longest request head.
const HEAD: usize = 4096;

/// Where a connection is.
#[derive(Debug, Default)]
pub(super) enum Connection {
    /// The head is coming in.
    #[default]
    Idle,
    Head(Vec<u8>),
    /// A head and then `content` from `at` to `end` go out.
    Body {
        head: Vec<u8>,
        sent: usize,
        content: Option<Content>,
        at: u64,
        end: u64,
    },
    /// Everything is in the socket's hands.
    Done,
}

/// What a connection told the server that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    pub(super) moved: bool,
    pub(super) answered: bool,
}

impl Connection {
    /// Moves as many bytes as the socket has or takes.
    pub(super) fn serve(&mut self, socket: &mut Socket<'_>, library: &mut Library) -> Progress {
        let mut progress = Progress::default();
        if matches!(self, Self::Idle) && socket.is_active() {
            *self = Self::Head(Vec::new());
        }
        if let Self::Head(head) = self {
            while socket.can_recv() {
                let room = HEAD - head.len();
                let got = socket.recv(|data| {
                    let n = data.len().min(room);
                    head.extend_from_slice(&data[..n]);
                    (n, n)
                });
                progress.moved = true;
                let Ok(1..) = got else { break };
                if let Some(end) = find_end(head) {
                    let next = respond(&head[..end], library);
                    *self = next;
                    progress.answered = true;
                    break;
                }
            }
        }
        if let Self::Head(head) = self {
            if head.len() >= HEAD {
                *self = plain(431, "Request Header Fields Too Large");
                progress.answered = true;
            } else if !socket.may_recv() && socket.is_active() && !socket.can_recv() && socket.may_send() {
                // It ended before its request did.
                socket.close();
                *self = Self::Done;
                progress.moved = true;
            }
        }
        if let Self::Body { head, sent, content, at, end } = self {
            while socket.can_send() {
                if *sent < head.len() {
                    *sent += socket.send_slice(&head[*sent..]).unwrap_or(0);
                } else if let Some(content) = content.as_mut().filter(|_| at < end) {
                    let room = *end - *at;
                    let n = socket.send(|out| {
                        let n = (out.len() as u64).min(room) as usize;
                        let n = content.read(*at, &mut out[..n]);
                        (n, n)
                    });
                    match n {
                        Ok(n @ 1..) => *at += n as u64,
                        // The file became shorter: say so the only way that is left.
                        _ => {
                            socket.abort();
                            *self = Self::Done;
                            return Progress { moved: true, ..progress };
                        }
                    }
                } else {
                    socket.close();
                    *self = Self::Done;
                    return Progress { moved: true, ..progress };
                }
                progress.moved = true;
            }
        }
        // What comes after the request is not read, only taken away.
        if matches!(self, Self::Done | Self::Body { .. }) {
            while socket.can_recv() && matches!(socket.recv(|data| (data.len(), data.len())), Ok(1..)) {}
        }
        progress
    }
}

fn find_end(head: &[u8]) -> Option<usize> {
    head.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn plain(status: u16, text: &str) -> Connection {
    let body = format!("{status} {text}\n");
    let head = format!(
        "HTTP/1.1 {status} {text}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    Connection::Body { head: head.into_bytes(), sent: 0, content: None, at: 0, end: 0 }
}

/// `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT`, as the half-open range within `len`.
fn range(value: &str, len: u64) -> Option<(u64, u64)> {
    let (first, last) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
    let (first, end) = match (first.trim(), last.trim()) {
        ("", count) => (len.saturating_sub(count.parse().ok()?), len),
        (first, "") => (first.parse().ok()?, len),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.saturating_add(1).min(len)),
    };
    (first < end).then_some((first, end))
}

fn respond(head: &[u8], library: &mut Library) -> Connection {
    let Ok(text) = std::str::from_utf8(head) else { return plain(400, "Bad Request") };
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return plain(400, "Bad Request");
    };
    if !version.starts_with("HTTP/1.") {
        return plain(400, "Bad Request");
    }
    if !matches!(method, "GET" | "HEAD") {
        return plain(405, "Method Not Allowed");
    }
    let Some(content) = library.open(target) else { return plain(404, "Not Found") };
    let len = content.len();
    let wanted = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("range").then(|| range(value, len))
    });
    let (status, at, end) = match wanted {
        None => ("200 OK", 0, len),
        Some(Some((at, end))) => ("206 Partial Content", at, end),
        Some(None) => return plain(416, "Range Not Satisfiable"),
    };
    let mut head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\nConnection: close\r\n",
        end - at
    );
    if status.starts_with("206") {
        head.push_str(&format!("Content-Range: bytes {at}-{}/{len}\r\n", end - 1));
    }
    head.push_str("\r\n");
    let at = if method == "HEAD" { end } else { at };
    Connection::Body { head: head.into_bytes(), sent: 0, content: Some(content), at, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_by_the_book() {
        for (value, expected) in [
            ("bytes=0-0", Some((0, 1))),
            ("bytes=10-", Some((10, 100))),
            ("bytes=-10", Some((90, 100))),
            ("bytes=-200", Some((0, 100))),
            ("bytes=90-1000", Some((90, 100))),
            ("bytes=0-18446744073709551615", Some((0, 100))),
            ("bytes=100-", None),
            ("bytes=5-4", None),
            ("bytes=0-1,5-6", None),
            ("lines=0-1", None),
            ("bytes=-", None),
        ] {
            assert_eq!(range(value, 100), expected, "{value}");
        }
    }

    #[test]
    fn requests_that_are_none_have_their_status() {
        let mut library = Library::default();
        library.add("a", vec![1, 2, 3].into());
        for (request, status) in [
            ("GET /a HTTP/1.1", "200 OK"),
            ("HEAD /a HTTP/1.0", "200 OK"),
            ("GET /a HTTP/1.1\r\nrange: bytes=1-", "206 Partial Content"),
            ("GET /a HTTP/1.1\r\nRange: bytes=3-", "416 Range Not Satisfiable"),
            ("GET /b HTTP/1.1", "404 Not Found"),
            ("POST /a HTTP/1.1", "405 Method Not Allowed"),
            ("GET /a", "400 Bad Request"),
            ("GET /a SMTP", "400 Bad Request"),
        ] {
            let Connection::Body { head, .. } =
                respond(format!("{request}\r\n\r\n").as_bytes(), &mut library)
            else {
                panic!("{request}")
            };
            let head = String::from_utf8(head).unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {head}");
        }
    }
}
