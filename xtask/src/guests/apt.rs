//! A private apt root: the packages the guests are made of, through the host's own sources and keys, without changing the host.
//!
//! apt checks every package against the signed index; nothing here loosens that. The host's `Acquire` settings (proxies,
//! time-outs) are taken over, its hooks are not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use crate::error::{Error, IoContext, Result};

/// The packages on this machine, by the name they were asked for.
pub(crate) struct Packages {
    debs: BTreeMap<String, PathBuf>,
}

impl Packages {
    /// The `.deb` file of the package asked for as `name`.
    pub(crate) fn deb(&self, name: &str) -> Result<&Path> {
        self.debs
            .get(name)
            .map(PathBuf::as_path)
            .ok_or_else(|| Error::Input(format!("package {name} was not fetched")))
    }

    /// File names (they hold the versions) of all packages, one a line: part of the key under which outputs are cached.
    pub(crate) fn versions(&self) -> String {
        let mut lines: Vec<_> = self
            .debs
            .values()
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        lines.sort();
        lines.join("\n")
    }
}

/// The private root.
pub(crate) struct Apt {
    root: PathBuf,
    native: String,
}

impl Apt {
    /// Uses (and makes, if need be) the private root `root`.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        for tool in ["apt-get", "apt-cache", "apt-config", "dpkg", "dpkg-deb", "tar"] {
            if which(tool).is_none() {
                return Err(Error::Host(format!(
                    "{tool}: the guests come from Debian's registry through apt (on Debian: apt-get install apt dpkg tar)"
                )));
            }
        }
        let native = stdout(&run(Command::new("dpkg").arg("--print-architecture"))?);
        Ok(Self { root: root.to_path_buf(), native: native.trim().to_owned() })
    }

    /// The architecture suffix for a package of x86 boot code that only x86 registries carry.
    pub(crate) fn x86_suffix(&self) -> &'static str {
        match self.native.as_str() {
            "amd64" | "i386" => "",
            _ => ":i386",
        }
    }

    /// The packages `names` (a meta package named `META>` stands for the first package that META depends on), from the cache if
    /// all are there and `refresh` is not set.
    pub(crate) fn fetch(&self, names: &[String], refresh: bool) -> Result<Packages> {
        let index = self.root.join("packages.json");
        if !refresh && let Some(packages) = self.cached(&index, names) {
            return Ok(packages);
        }
        self.configure()?;
        // A mirror in mid-sync is right again after a moment. A source that stays broken must not stop us while the others have a
        // signed index with all we need: so the index gets a second chance, the packages get more.
        let mut index_error = None;
        for pause in [0, 5] {
            pause_before(pause, index_error.as_ref());
            index_error = self.update().err();
            if index_error.is_none() {
                break;
            }
        }
        let mut error = index_error;
        for pause in [0, 10, 30, 60] {
            if pause > 0 {
                pause_before(pause, error.as_ref());
                if let Err(new) = self.update() {
                    error = Some(new);
                }
            }
            match self.download(names) {
                Ok(packages) => {
                    if let Some(error) = error {
                        eprintln!("guests: all packages are here, although {error}");
                    }
                    self.remember(&index, &packages)?;
                    return Ok(packages);
                }
                Err(host @ Error::Host(_)) if error.is_none() => return Err(host),
                Err(new) => error = Some(new),
            }
        }
        Err(error.unwrap_or_else(|| Error::Input("the registry has not answered".into())))
    }

    fn cached(&self, index: &Path, names: &[String]) -> Option<Packages> {
        let text = fs::read_to_string(index).ok()?;
        let known: BTreeMap<String, String> = serde_json::from_str(&text).ok()?;
        let mut debs = BTreeMap::new();
        for name in names {
            let path = self.root.join("debs").join(known.get(name)?);
            if !path.is_file() {
                return None;
            }
            debs.insert(name.clone(), path);
        }
        Some(Packages { debs })
    }

    fn remember(&self, index: &Path, packages: &Packages) -> Result<()> {
        let known: BTreeMap<&str, String> = packages
            .debs
            .iter()
            .filter_map(|(name, path)| {
                Some((name.as_str(), path.file_name()?.to_string_lossy().into_owned()))
            })
            .collect();
        let text = serde_json::to_string_pretty(&known).map_err(|e| Error::Input(e.to_string()))?;
        fs::write(index, text).at(index)
    }

    fn configure(&self) -> Result<()> {
        for folder in ["state/lists/partial", "cache/archives/partial", "debs"] {
            let folder = self.root.join(folder);
            fs::create_dir_all(&folder).at(&folder)?;
        }
        let status = self.root.join("status");
        fs::write(&status, "").at(&status)?;
        let acquire = stdout(&run(Command::new("apt-config").args([
            "dump",
            "--no-empty",
            "--format",
            "%F \"%v\";%n",
            "Acquire",
        ]))?);
        let root = self.root.display();
        let architectures = if self.native == "i386" {
            "\"i386\";".to_owned()
        } else {
            format!("\"{}\"; \"i386\";", self.native)
        };
        let text = format!(
            "{acquire}\n\
             Dir::State \"{root}/state\";\n\
             Dir::State::status \"{root}/status\";\n\
             Dir::Cache \"{root}/cache\";\n\
             Dir::Etc::main \"/dev/null\";\n\
             Dir::Etc::parts \"/dev/null\";\n\
             APT::Architecture \"{}\";\n\
             APT::Architectures {{ {architectures} }};\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"3\";\n",
            self.native
        );
        let conf = self.root.join("apt.conf");
        fs::write(&conf, text).at(&conf)
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.root.join("apt.conf"))
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.root.join("debs"));
        command
    }

    fn update(&self) -> Result<()> {
        eprintln!("guests: reading the registry's signed index");
        run(self.tool("apt-get").args(["-q", "update", "-o", "APT::Update::Error-Mode=any"])).map(drop)
    }

    fn download(&self, names: &[String]) -> Result<Packages> {
        let mut debs = BTreeMap::new();
        for name in names {
            let package = match name.strip_suffix('>') {
                Some(meta) => self.first_dependency(meta)?,
                None => name.clone(),
            };
            // One line: 'URI' FILE SIZE HASH. Nothing for a file that is there, so it is asked from another folder.
            let line = stdout(&run(self.tool("apt-get").current_dir(&self.root).args([
                "-q",
                "download",
                "--print-uris",
                &package,
            ]))?);
            let file = line
                .split_whitespace()
                .nth(1)
                .ok_or_else(|| Error::Input(format!("apt names no file for package {package}")))?;
            let path = self.root.join("debs").join(file);
            if !path.is_file() {
                eprintln!("guests: fetching {package}");
                run(self.tool("apt-get").args(["-q", "download", &package]))?;
            }
            if !path.is_file() {
                return Err(Error::Input(format!("apt said it fetched {file} but it is not there")));
            }
            debs.insert(name.clone(), path);
        }
        Ok(Packages { debs })
    }

    /// The versioned package that the meta package `meta` stands for, with the same architecture.
    fn first_dependency(&self, meta: &str) -> Result<String> {
        let record = run(self.tool("apt-cache").args(["show", "--no-all-versions", meta])).map_err(|_| {
            Error::Host(format!(
                "a source of {meta}: the host's apt sources must include Debian's main section"
            ))
        })?;
        let depends = stdout(&record)
            .lines()
            .find_map(|line| line.strip_prefix("Depends: ").map(str::to_owned))
            .ok_or_else(|| Error::Input(format!("{meta} depends on nothing")))?;
        let first = depends.split([' ', ',']).next().unwrap_or_default();
        let suffix = meta.split_once(':').map_or(String::new(), |(_, a)| format!(":{a}"));
        Ok(format!("{first}{suffix}"))
    }
}

/// Unpacks the whole of `deb` into `into`.
pub(crate) fn unpack(deb: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).at(into)?;
    run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(into)).map(drop)
}

/// The content of the file `path` in `deb`.
pub(crate) fn file(deb: &Path, path: &str) -> Result<Vec<u8>> {
    let mut found = None;
    visit_files(deb, |name| name == path, |_, content| found = Some(content))?;
    found.ok_or_else(|| Error::Input(format!("{}: no file {path} inside", deb.display())))
}

/// The content of the file `path` of the kernel in a `linux-source-*` package, which holds a compressed archive.
pub(crate) fn source_file(deb: &Path, path: &str) -> Result<Vec<u8>> {
    let mut archive = None;
    visit_files(
        deb,
        |name| name.starts_with("usr/src/") && name.ends_with(".tar.xz"),
        |name, content| archive = Some((name, content)),
    )?;
    let (name, content) =
        archive.ok_or_else(|| Error::Input(format!("{}: no usr/src/*.tar.xz inside", deb.display())))?;
    let file = deb.with_file_name(".source.tar.xz");
    fs::write(&file, content).at(&file)?;
    let stem = name.rsplit('/').next().unwrap_or_default().trim_end_matches(".tar.xz");
    let member = format!("{stem}/{path}");
    let output = run(Command::new("tar").arg("-xJOf").arg(&file).args(["--occurrence=1", &member]));
    fs::remove_file(&file).at(&file)?;
    Ok(output?.stdout)
}

/// A file or a link of a package.
pub(crate) enum Entry {
    File(Vec<u8>),
    Link(String),
}

/// The programs `programs` of `deb`, and every shared library in it.
pub(crate) fn programs_and_libraries(deb: &Path, programs: &[&str]) -> Result<Vec<(String, Entry)>> {
    let library = |path: &str| {
        path.rsplit_once('/')
            .is_some_and(|(folder, name)| folder.ends_with("lib/i386-linux-gnu") && name.contains(".so"))
            || path == "lib/ld-linux.so.2"
    };
    let mut found = Vec::new();
    visit(deb, |path| programs.contains(&path) || library(path), |path, entry| found.push((path, entry)))?;
    match programs.iter().find(|program| !found.iter().any(|(path, _)| path == *program)) {
        Some(missing) => Err(Error::Input(format!("{}: no file {missing} inside", deb.display()))),
        None => Ok(found),
    }
}

/// Calls `visit` with the path (without a leading `./`) and the content of each regular file in `deb` that `wanted` accepts.
pub(crate) fn visit_files(
    deb: &Path,
    wanted: impl Fn(&str) -> bool,
    mut visit_file: impl FnMut(String, Vec<u8>),
) -> Result<()> {
    visit(deb, wanted, |path, entry| {
        if let Entry::File(content) = entry {
            visit_file(path, content);
        }
    })
}

/// As [`visit_files`], with the symbolic links.
fn visit(deb: &Path, wanted: impl Fn(&str) -> bool, mut visit: impl FnMut(String, Entry)) -> Result<()> {
    use std::io::Read;
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdout(Stdio::piped())
        .spawn()
        .at("dpkg-deb")?;
    let Some(pipe) = child.stdout.take() else {
        return Err(Error::Input("dpkg-deb has no output".into()));
    };
    let mut archive = tar::Archive::new(pipe);
    for entry in archive.entries().at(deb)? {
        let mut entry = entry.at(deb)?;
        let path = entry.path().at(deb)?.to_string_lossy().into_owned();
        let path = path.trim_start_matches("./").to_owned();
        let kind = entry.header().entry_type();
        if !wanted(&path) {
            continue;
        }
        if kind.is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).at(deb)?;
            visit(path, Entry::File(content));
        } else if kind.is_symlink()
            && let Some(target) = entry.link_name().at(deb)?
        {
            visit(path, Entry::Link(target.to_string_lossy().into_owned()));
        }
    }
    // tar stops at the end mark; dpkg-deb may still hold padding.
    let mut rest = archive.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink()).at(deb)?;
    let status = child.wait().at("dpkg-deb")?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Program {
            program: "dpkg-deb".into(),
            detail: format!("{} is damaged; delete it and run again", deb.display()),
        })
    }
}

fn pause_before(seconds: u64, error: Option<&Error>) {
    if let Some(error) = error.filter(|_| seconds > 0) {
        eprintln!("guests: {error}; trying again in {seconds} s");
        thread::sleep(Duration::from_secs(seconds));
    }
}

/// Where `program` is found in PATH.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs `command`, quietly; an error carries the end of what it said.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().at(&program)?;
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let detail = lines
        .iter()
        .find(|line| line.starts_with("E: "))
        .or(lines.last())
        .map_or_else(|| output.status.to_string(), |line| (*line).to_owned());
    Err(Error::Program { program, detail })
}

/// What a program wrote to its standard output.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
