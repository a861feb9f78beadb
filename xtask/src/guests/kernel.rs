//! Debian's kernel packages: the bzImage, the ELF image inside it, and the modules a test guest needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use super::apt;
use crate::error::{Error, Result};

/// Marks a module with a signature appended to it (`include/linux/module_signature.h`).
const SIGNATURE_MARK: &[u8] = b"~Module signature appended~\n";

/// What is taken from a kernel package.
pub(crate) struct Kernel {
    /// `uname -r` of this kernel.
    pub(crate) release: String,
    /// The bzImage as shipped.
    pub(crate) bzimage: Vec<u8>,
    modules: BTreeMap<String, Module>,
}

struct Module {
    /// Path below `/lib/modules/RELEASE/`.
    path: String,
    content: Vec<u8>,
    depends: Vec<String>,
    aliases: Vec<String>,
}

/// Files for `/lib/modules/RELEASE/` of an initramfs, as modprobe wants them.
pub(crate) struct ModuleTree {
    /// Path below `/lib/modules/RELEASE/` and content.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl Kernel {
    /// Reads a `linux-image-*` package.
    pub(crate) fn read(deb: &Path) -> Result<Self> {
        let mut bzimage = None;
        let mut release = String::new();
        let mut modules = BTreeMap::new();
        apt::visit_files(
            deb,
            |path| path.starts_with("boot/vmlinuz-") || path.ends_with(".ko"),
            |path, content| {
                if let Some(name) = path.strip_prefix("boot/vmlinuz-") {
                    release = name.to_owned();
                    bzimage = Some(content);
                } else if let Some(at) = path.find("/kernel/") {
                    let path = path[at + 1..].to_owned();
                    let stem = path.rsplit('/').next().unwrap_or_default();
                    let name = normal(stem.trim_end_matches(".ko"));
                    modules.insert(name, Module { path, content, depends: Vec::new(), aliases: Vec::new() });
                }
            },
        )?;
        let bzimage =
            bzimage.ok_or_else(|| Error::Input(format!("{}: no boot/vmlinuz-* inside", deb.display())))?;
        Ok(Self { release, bzimage, modules })
    }

    /// The modules `wanted` and all they depend on, signatures cut off, with the `modules.dep` and `modules.alias` for modprobe.
    pub(crate) fn module_tree(&mut self, wanted: &[&str]) -> Result<ModuleTree> {
        let mut chosen = BTreeSet::new();
        let mut queue: Vec<String> = wanted.iter().map(|name| normal(name)).collect();
        while let Some(name) = queue.pop() {
            if !chosen.insert(name.clone()) {
                continue;
            }
            let module = self
                .modules
                .get_mut(&name)
                .ok_or_else(|| Error::Input(format!("kernel {} has no module {name}", self.release)))?;
            module.strip_signature();
            let info = modinfo(&module.content)
                .ok_or_else(|| Error::Input(format!("module {name} has no .modinfo section")))?;
            for entry in info.split('\0') {
                if let Some(list) = entry.strip_prefix("depends=") {
                    module.depends = list.split(',').filter(|n| !n.is_empty()).map(normal).collect();
                } else if let Some(alias) = entry.strip_prefix("alias=") {
                    module.aliases.push(alias.to_owned());
                }
            }
            queue.extend(module.depends.iter().cloned());
        }
        let mut files = Vec::new();
        let mut dep = String::new();
        let mut alias = String::new();
        for name in &chosen {
            let module = &self.modules[name];
            // modprobe loads from right to left: every dependency stands after all that need it.
            let mut order = Vec::new();
            self.dependencies(name, &mut order);
            order.reverse();
            dep.push_str(&format!("{}:", module.path));
            for name in &order {
                dep.push_str(&format!(" {}", self.modules[name].path));
            }
            dep.push('\n');
            for text in &module.aliases {
                alias.push_str(&format!("alias {text} {name}\n"));
            }
            files.push((module.path.clone(), module.content.clone()));
        }
        files.push(("modules.dep".into(), dep.into_bytes()));
        files.push(("modules.alias".into(), alias.into_bytes()));
        Ok(ModuleTree { files })
    }

    /// Appends all that `name` needs, each after its own needs, none twice. Kernel modules cannot depend in a circle.
    fn dependencies(&self, name: &str, order: &mut Vec<String>) {
        for needed in &self.modules[name].depends {
            if !order.contains(needed) {
                self.dependencies(needed, order);
                if !order.contains(needed) {
                    order.push(needed.clone());
                }
            }
        }
    }
}

impl Module {
    fn strip_signature(&mut self) {
        // Signature data, a 12-byte descriptor that ends in the data's length (big endian), the mark.
        let Some(body) = self.content.strip_suffix(SIGNATURE_MARK) else {
            return;
        };
        let Some(end) = body.len().checked_sub(12) else { return };
        let length =
            u32::from_be_bytes([body[end + 8], body[end + 9], body[end + 10], body[end + 11]]) as usize;
        if let Some(keep) = end.checked_sub(length) {
            self.content.truncate(keep);
        }
    }
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn le16(data: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?).into())
}

fn le32(data: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?) as usize)
}

/// The `.modinfo` section of a 32-bit ELF object: NUL-terminated `key=value` strings.
fn modinfo(elf: &[u8]) -> Option<String> {
    let table = le32(elf, 0x20)?;
    let (size, count, names) = (le16(elf, 0x2e)?, le16(elf, 0x30)?, le16(elf, 0x32)?);
    let section = |index: usize| -> Option<(usize, &[u8])> {
        let header = table.checked_add(size.checked_mul(index)?)?;
        let (offset, length) = (le32(elf, header + 0x10)?, le32(elf, header + 0x14)?);
        Some((le32(elf, header)?, elf.get(offset..offset.checked_add(length)?)?))
    };
    let (_, strings) = section(names)?;
    (0..count).filter_map(section).find_map(|(name, content)| {
        strings.get(name..)?.starts_with(b".modinfo\0").then(|| String::from_utf8_lossy(content).into_owned())
    })
}

/// The ELF kernel inside a bzImage: the setup header (Documentation/arch/x86/boot.rst, protocol 2.08) says where the compressed
/// payload lies, Debian compresses it with xz.
pub(crate) fn extract_vmlinux(bzimage: &[u8]) -> Result<Vec<u8>> {
    let bad = |what: &str| Error::Input(format!("the kernel package's bzImage {what}"));
    if bzimage.get(0x202..0x206) != Some(b"HdrS") {
        return Err(bad("has no setup header"));
    }
    let setup_sectors = match bzimage[0x1f1] {
        0 => 4,
        n => usize::from(n),
    };
    let start = (setup_sectors + 1) * 512;
    let (offset, length) = (le32(bzimage, 0x248), le32(bzimage, 0x24c));
    let payload = offset
        .zip(length)
        .and_then(|(offset, length)| bzimage.get(start + offset..start + offset + length))
        .ok_or_else(|| bad("is shorter than its header says"))?;
    if !payload.starts_with(b"\xfd7zXZ\0") {
        return Err(bad("is not compressed with xz"));
    }
    let mut vmlinux = Vec::new();
    lzma_rust2::XzReader::new(payload, false)
        .read_to_end(&mut vmlinux)
        .map_err(|e| bad(&format!("does not decompress: {e}")))?;
    if !vmlinux.starts_with(b"\x7fELF\x01\x01") {
        return Err(bad("holds no 32-bit ELF kernel"));
    }
    Ok(vmlinux)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, depends: &[&str]) -> (String, Module) {
        (
            name.to_owned(),
            Module {
                path: format!("kernel/{name}.ko"),
                content: Vec::new(),
                depends: depends.iter().map(|d| (*d).to_owned()).collect(),
                aliases: Vec::new(),
            },
        )
    }

    #[test]
    fn dependencies_come_before_what_needs_them() {
        let kernel = Kernel {
            release: "0".into(),
            bzimage: Vec::new(),
            modules: [module("a", &["c", "b"]), module("b", &["d"]), module("c", &["b"]), module("d", &[])]
                .into(),
        };
        let mut order = Vec::new();
        kernel.dependencies("a", &mut order);
        assert_eq!(order, ["d", "b", "c"]);
    }

    #[test]
    fn a_signature_is_cut_off_and_nothing_else() {
        let mut signed = b"code".to_vec();
        signed.extend_from_slice(&[7; 300]);
        signed.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0]);
        signed.extend_from_slice(&300u32.to_be_bytes());
        signed.extend_from_slice(SIGNATURE_MARK);
        let (_, mut m) = module("m", &[]);
        m.content = signed;
        m.strip_signature();
        assert_eq!(m.content, b"code");
        m.strip_signature();
        assert_eq!(m.content, b"code");
    }

    #[test]
    fn foreign_input_is_refused() {
        assert!(extract_vmlinux(&[0; 600]).is_err());
        assert!(modinfo(b"\x7fELF").is_none());
    }
}
