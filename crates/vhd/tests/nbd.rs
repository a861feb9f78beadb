//! The NBD server and its clients: qemu-img, nbdcopy, and a file system through nbdfuse.

mod common;

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{Rng, content, content_hash, run, sha256, tool};
use slotone_block::write_all;
use slotone_vhd::nbd::Export;
use slotone_vhd::{CreateOptions, OpenOptions, Vhd};

/// Serves a disk until dropped.
struct Server {
    socket: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(disk: Vhd, socket: PathBuf) -> Self {
        let listener = UnixListener::bind(&socket).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let export = Export::new(Arc::new(disk)).name("disk");
            std::thread::scope(|scope| {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        break;
                    }
                    let export = &export;
                    scope.spawn(move || export.serve(stream.unwrap()));
                }
            });
        });
        Self { socket, stop, thread: Some(thread) }
    }

    fn uri(&self) -> String {
        format!("nbd+unix:///?socket={}", self.socket.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = UnixStream::connect(&self.socket);
        if let Some(t) = self.thread.take() {
            t.join().unwrap();
        }
    }
}

fn filled(path: &Path, size: u64) -> Vhd {
    let disk = Vhd::create(path, &CreateOptions::dynamic(size)).unwrap();
    let mut rng = Rng(3);
    for _ in 0..40 {
        let mut data = vec![0; 64 << 10];
        rng.fill(&mut data);
        write_all(&disk, rng.below(size / 512 - 128) * 512, &data).unwrap();
    }
    disk
}

fn text(p: &Path) -> &str {
    p.to_str().unwrap()
}

#[test]
fn two_clients_read_the_content_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let disk = filled(&dir.path().join("d.vhd"), 64 << 20);
    let hash = content_hash(&disk);
    let server = Server::start(disk, dir.path().join("s"));
    let mut clients: Vec<(&str, Child)> = Vec::new();
    let outs = [dir.path().join("a.raw"), dir.path().join("b.raw")];
    if let Some(qemu) = tool("qemu-img") {
        let args = ["convert", "-f", "raw", "-O", "raw", &server.uri(), text(&outs[0])];
        clients.push(("qemu-img", Command::new(qemu).args(args).spawn().unwrap()));
    }
    if let Some(copy) = tool("nbdcopy") {
        let args = ["--connections=4", &server.uri(), text(&outs[1])];
        clients.push(("nbdcopy", Command::new(copy).args(args).spawn().unwrap()));
    }
    for (name, client) in &mut clients {
        assert!(client.wait().unwrap().success(), "{name}");
    }
    for out in outs.iter().filter(|o| o.exists()) {
        assert_eq!(sha256(&std::fs::read(out).unwrap()), hash, "{}", out.display());
    }
}

#[test]
fn written_by_a_client() {
    let Some(copy) = tool("nbdcopy") else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source.raw");
    let mut data = vec![0; 32 << 20];
    Rng(8).fill(&mut data[3 << 20..9 << 20]);
    std::fs::write(&source, &data).unwrap();
    let path = dir.path().join("d.vhd");
    let server =
        Server::start(Vhd::create(&path, &CreateOptions::dynamic(32 << 20)).unwrap(), dir.path().join("s"));
    run(&copy, &["--flush", text(&source), &server.uri()]);
    drop(server);
    let disk = Vhd::open(&path).unwrap();
    assert!(content(&disk) == data);
    assert_eq!(disk.blocks().unwrap().0, 4, "zeros were stored");
}

#[test]
fn an_ext4_file_system_through_nbdfuse() {
    let (Some(fuse), Some(mkfs)) = (tool("nbdfuse"), tool("mkfs.ext4")) else { return };
    let (Some(losetup), Some(mount), Some(umount)) = (tool("losetup"), tool("mount"), tool("umount")) else {
        return;
    };
    let (Some(fsck), Some(unfuse)) = (tool("e2fsck"), tool("fusermount3").or_else(|| tool("fusermount")))
    else {
        return;
    };
    if !root() || !Path::new("/dev/loop-control").exists() || !Path::new("/dev/fuse").exists() {
        eprintln!("skipped: needs root, /dev/fuse and loop devices");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.vhd");
    let server =
        Server::start(Vhd::create(&path, &CreateOptions::dynamic(96 << 20)).unwrap(), dir.path().join("s"));
    let (point, mnt) = (dir.path().join("fuse"), dir.path().join("mnt"));
    std::fs::create_dir(&point).unwrap();
    std::fs::create_dir(&mnt).unwrap();
    let mut client = Command::new(fuse).args([text(&point), &server.uri()]).spawn().unwrap();
    let disk = point.join("nbd");
    let begun = Instant::now();
    while !disk.exists() {
        assert!(begun.elapsed() < Duration::from_secs(10), "nbdfuse does not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let device = run(&losetup, &["--find", "--show", text(&disk)]).trim().to_owned();
    let mut files = Vec::new();
    // Whatever fails, the devices must go.
    let work = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(&mkfs, &["-q", "-F", &device]);
        run(&mount, &[&device, text(&mnt)]);
        let mut rng = Rng(4);
        for i in 0..60 {
            let mut data = vec![0; rng.below(400_000) as usize];
            rng.fill(&mut data);
            let name = mnt.join(format!("file{i}"));
            std::fs::write(&name, &data).unwrap();
            files.push((name, sha256(&data)));
        }
        for (name, _) in files.iter().filter(|(n, _)| text(n).ends_with('3')) {
            std::fs::remove_file(name).unwrap();
        }
        files.retain(|(n, _)| !text(n).ends_with('3'));
        unmount(&umount, &mnt);
        run(&fsck, &["-f", "-n", &device]);
        run(&mount, &["-o", "ro", &device, text(&mnt)]);
        for (name, hash) in &files {
            assert_eq!(sha256(&std::fs::read(name).unwrap()), *hash);
        }
    }));
    if work.is_err() {
        let _ = Command::new(&umount).arg(&mnt).status();
    } else {
        unmount(&umount, &mnt);
    }
    let _ = Command::new(&losetup).args(["-d", &device]).status();
    std::thread::sleep(Duration::from_millis(200));
    let _ = Command::new(unfuse).args(["-u", text(&point)]).status();
    let _ = client.wait();
    drop(server);
    if let Err(e) = work {
        std::panic::resume_unwind(e);
    }
    // And the image is as the client left it.
    let raw = dir.path().join("after.raw");
    let disk = OpenOptions::new().read_only(true).open(&path).unwrap();
    std::fs::write(&raw, content(&disk)).unwrap();
    run(&fsck, &["-f", "-n", text(&raw)]);
}

/// A child that another test is just forking holds this test's open files until it has become another program.
fn unmount(umount: &Path, point: &Path) {
    for _ in 0..50 {
        if Command::new(umount).arg(point).stderr(Stdio::null()).status().unwrap().success() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    run(umount, &[text(point)]);
}

fn root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|s| s.lines().any(|l| l.starts_with("Uid:\t0\t")))
}

/// What no well-behaved client sends.
#[test]
fn rude_clients() {
    let dir = tempfile::tempdir().unwrap();
    let disk = filled(&dir.path().join("d.vhd"), 4 << 20);
    let before = content_hash(&disk);
    let export = Export::new(Arc::new(disk));
    let mut rng = Rng(6);
    for seed in 0..300u64 {
        let mut input = Vec::new();
        input.extend(3u32.to_be_bytes());
        for _ in 0..rng.below(5) {
            input.extend(b"IHAVEOPT");
            input.extend((rng.below(12) as u32).to_be_bytes());
            let n = rng.below(40) as usize;
            input.extend((if seed % 7 == 0 { u32::MAX } else { n as u32 }).to_be_bytes());
            let mut data = vec![0; n];
            rng.fill(&mut data);
            input.extend(data);
        }
        if seed % 2 == 0 {
            input.extend(b"IHAVEOPT\x00\x00\x00\x07\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00");
            for _ in 0..6 {
                input.extend(0x2560_9513u32.to_be_bytes());
                input.extend((rng.next() as u16).to_be_bytes());
                // Reads and unknown ones: nothing may change.
                input.extend([0u16, 3, 5, 7, 9, 77][rng.below(6) as usize].to_be_bytes());
                input.extend(rng.next().to_be_bytes());
                input.extend(rng.next().to_be_bytes());
                input.extend((rng.next() as u32).to_be_bytes());
            }
        }
        let mut stream = Script { input: std::io::Cursor::new(input), output: 0 };
        let _ = export.serve(&mut stream);
        assert!(stream.output < 64 << 20);
    }
    drop(export);
    let disk = Vhd::open(dir.path().join("d.vhd")).unwrap();
    assert_eq!(content_hash(&disk), before);
}

struct Script {
    input: std::io::Cursor<Vec<u8>>,
    output: usize,
}

impl std::io::Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(buf)
    }
}

impl Write for Script {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.output += buf.len();
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
