//! The README's console session, run as printed. `cargo test -p slotone-vhd --features cli --test readme`.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::tool;

/// What follows `$ ` and what it printed.
fn session(readme: &str) -> Vec<(&str, Vec<&str>)> {
    let tool = readme.split("## The tool").nth(1).unwrap();
    let block = tool.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => all.push((command, Vec::new())),
            None if line.is_empty() => {}
            None => all.last_mut().unwrap().1.push(line),
        }
    }
    all
}

/// A line without what differs from run to run: ids, times, rates, and the folder.
fn shape(line: &str, folder: &str) -> String {
    let line = line.replace(folder, "/home/you").replace(&folder.replace('/', "\\"), "\\home\\you");
    if line.contains(" a second, ") || line.starts_with("created") {
        let name =
            |w: &str| if w.starts_with(|c: char| c.is_ascii_digit()) { "#".to_owned() } else { w.to_owned() };
        return line.split(' ').map(name).collect::<Vec<_>>().join(" ");
    }
    // Room taken on the host is the file system's affair.
    let line = line.split(", takes ").next().unwrap();
    let mut out = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let n = rest.find(|c: char| !c.is_ascii_hexdigit() && c != '-').unwrap_or(rest.len());
        let word = &rest[..n];
        let id = word.len() == 36 && word.matches('-').count() == 4;
        let time = word.len() == 14 && word.bytes().all(|b| b.is_ascii_digit());
        out.push_str(if id {
            "ID"
        } else if time {
            "TIME"
        } else {
            word
        });
        let stop = rest[n..].chars().next().map_or(n, |c| n + c.len_utf8());
        out.push_str(&rest[n..stop]);
        rest = &rest[stop..];
    }
    out
}

/// Neither an empty line nor what the shell says of its jobs.
fn shown(line: &str) -> bool {
    !line.is_empty() && !line.starts_with("[1]")
}

#[test]
fn as_printed() {
    let (Some(bash), Some(_), Some(_)) = (tool("bash"), tool("qemu-img"), tool("nbdinfo")) else { return };
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let session = session(&readme);
    let tmp = tempfile::tempdir().unwrap();
    let folder = tmp.path().canonicalize().unwrap();
    // Job control, so that `%1` is the server and an interrupt reaches it.
    let mut script = String::from("set -m\n");
    for (i, (command, _)) in session.iter().enumerate() {
        script.push_str(&format!("echo @@{i}\n{command}\n"));
        if command.ends_with('&') {
            // Whoever types this waits for the server's answer.
            script
                .push_str("for i in $(seq 500); do [ -S vhd.sock ] && break; sleep 0.02; done; sleep 0.1\n");
        }
    }
    script.push_str("wait\n");
    let bin = Path::new(env!("CARGO_BIN_EXE_vhd")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let out = Command::new(bash)
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .current_dir(&folder)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let folder = folder.to_str().unwrap();
    for (i, (command, printed)) in session.iter().enumerate() {
        let own = text.split(&format!("@@{i}\n")).nth(1).unwrap().split("@@").next().unwrap();
        let got: Vec<_> = own.lines().filter(|l| shown(l)).map(|l| shape(l, folder)).collect();
        let want: Vec<_> = printed.iter().map(|l| shape(l, "/home/you")).collect();
        assert_eq!(got, want, "$ {command}\n{own}");
    }
    // And no verb is left out.
    let help = Command::new(env!("CARGO_BIN_EXE_vhd")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let verbs: Vec<_> = help
        .split("Commands:\n")
        .nth(1)
        .unwrap()
        .lines()
        .map_while(|l| l.split_whitespace().next())
        .filter(|v| *v != "help")
        .collect();
    assert!(verbs.len() >= 11, "{help}");
    for verb in verbs {
        let used = session.iter().any(|(c, _)| c.contains(&format!("vhd {verb} ")));
        assert!(used, "the README has no example of vhd {verb}");
    }
}
