//! MODE SENSE and MODE SELECT (SPC-2, 7.6 to 7.9 and 8.3) for any kind of unit: headers, block descriptors, pages with masks of what can be
//! changed.

use crate::{Command, Reply, Sense, opcode};

/// A mode page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) code: u8,
    /// What follows code and length.
    pub(crate) content: Vec<u8>,
    changeable: Vec<u8>,
}

impl Page {
    /// A page that cannot be changed.
    pub(crate) fn fixed(code: u8, content: &[u8]) -> Self {
        Self::new(code, content, &[])
    }

    /// A page with the bits that can be changed, by their byte in `content`.
    pub(crate) fn new(code: u8, content: &[u8], bits: &[(usize, u8)]) -> Self {
        let mut changeable = vec![0; content.len()];
        for (at, mask) in bits {
            changeable[*at] |= mask;
        }
        Self { code, content: content.to_vec(), changeable }
    }
}

/// A short block descriptor: density, number of blocks, their length.
pub(crate) fn short_descriptor(density: u8, blocks: u32, len: u32) -> Vec<u8> {
    let mut descriptor = blocks.to_be_bytes().to_vec();
    descriptor[0] |= density;
    descriptor.extend(len.to_be_bytes());
    descriptor
}

/// A long one (LLBAA).
pub(crate) fn long_descriptor(blocks: u64, len: u32) -> Vec<u8> {
    let mut descriptor = blocks.to_be_bytes().to_vec();
    descriptor.extend([0; 4]);
    descriptor.extend(len.to_be_bytes());
    descriptor
}

/// MODE SENSE: `descriptors` are the short and the long one of a unit that has them; `pages` and `defaults` have the same codes in ascending
/// order.
pub(crate) fn sense(
    command: &Command,
    medium_type: u8,
    device_specific: u8,
    descriptors: Option<(Vec<u8>, Vec<u8>)>,
    pages: Vec<Page>,
    defaults: Vec<Page>,
) -> Result<Reply, Sense> {
    let cdb = &command.cdb;
    let ten = command.opcode() == opcode::MODE_SENSE_10;
    let (control, code, subpage) = (cdb[2] >> 6, cdb[2] & 0x3f, cdb[3]);
    let all = code == 0x3f;
    if !(subpage == 0 || subpage == 0xff && all) {
        return Err(Sense::INVALID_FIELD.at(3));
    }
    if control == 3 {
        return Err(Sense::SAVING_NOT_SUPPORTED);
    }
    let mut content = Vec::new();
    for page in if control == 2 { defaults } else { pages } {
        if all || page.code == code {
            content.extend([page.code, page.content.len() as u8]);
            content.extend(if control == 1 { page.changeable } else { page.content });
        }
    }
    // Page 0, vendor-specific, is what Windows asks for to get the header alone; other pages must be there.
    if content.is_empty() && code != 0 {
        return Err(Sense::INVALID_FIELD.at(2));
    }
    let long = ten && cdb[1] & 0x10 != 0;
    let descriptor = match descriptors {
        Some((short, long_one)) if cdb[1] & 0x08 == 0 => {
            if long {
                long_one
            } else {
                short
            }
        }
        _ => Vec::new(),
    };
    let rest = descriptor.len() + content.len();
    let mut data = if ten {
        let [high, low] = ((6 + rest) as u16).to_be_bytes();
        let long = u8::from(long && !descriptor.is_empty());
        vec![high, low, medium_type, device_specific, long, 0, 0, descriptor.len() as u8]
    } else {
        vec![(3 + rest) as u8, medium_type, device_specific, descriptor.len() as u8]
    };
    data.extend(descriptor);
    data.extend(content);
    Ok(Reply::data_in(data, allocated(command)))
}

fn allocated(command: &Command) -> usize {
    match opcode::cdb_len(command.opcode()) {
        6 => usize::from(command.cdb[4]),
        _ => usize::from(command.u16(7)),
    }
}

/// MODE SELECT: asks for its parameter list. Pages are in the standard's format and cannot be saved.
pub(crate) fn select(command: &Command) -> Result<Reply, Sense> {
    if command.cdb[1] & 0x11 != 0x10 {
        return Err(Sense::INVALID_FIELD.at(1));
    }
    Ok(match allocated(command) {
        0 => Reply::Good,
        len => Reply::DataOut { len: len as u32 },
    })
}

/// What a parameter list says.
pub(crate) struct Select {
    /// Bytes of the header, behind which the block descriptor is.
    pub(crate) header: usize,
    /// Number of blocks and their length.
    pub(crate) descriptor: Option<(u64, u32)>,
    /// The pages as they shall be.
    pub(crate) pages: Vec<Page>,
}

/// Takes a parameter list apart: pages must be known, of the right length, and differ from `current` in changeable bits alone.
pub(crate) fn parse(command: &Command, data: &[u8], current: Vec<Page>) -> Result<Select, Sense> {
    let ten = command.opcode() == opcode::MODE_SELECT_10;
    let (header, rest) =
        data.split_at_checked(if ten { 8 } else { 4 }).ok_or(Sense::PARAMETER_LIST_LENGTH)?;
    let (descriptors, long) = if ten {
        (usize::from(u16::from_be_bytes([header[6], header[7]])), header[4] & 1 != 0)
    } else {
        (usize::from(header[3]), false)
    };
    let (descriptor, mut rest) = rest.split_at_checked(descriptors).ok_or(Sense::PARAMETER_LIST_LENGTH)?;
    let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|n| descriptor[at + n]));
    let descriptor = match (descriptor.len(), long) {
        (0, _) => None,
        // The top byte is a density code or, since SBC-2, the top of the number; neither 0 nor a length has it.
        (8, false) => Some((u64::from(word(0)), word(4) & 0xff_ffff)),
        (16, true) => Some((u64::from(word(0)) << 32 | u64::from(word(4)), word(12))),
        _ => return Err(Sense::INVALID_PARAMETER.at(if ten { 6 } else { 3 })),
    };
    let mut pages = Vec::new();
    while let [code, len, tail @ ..] = rest {
        let at = data.len() - rest.len();
        let page = current.iter().find(|page| page.code == code & 0x3f && code & 0x40 == 0);
        let page = page.ok_or(Sense::INVALID_PARAMETER.at(at))?;
        if usize::from(*len) != page.content.len() {
            return Err(Sense::INVALID_PARAMETER.at(at + 1));
        }
        let (content, tail) = tail.split_at_checked(usize::from(*len)).ok_or(Sense::PARAMETER_LIST_LENGTH)?;
        let fixed = content.iter().zip(&page.content).zip(&page.changeable);
        if let Some(n) = fixed.into_iter().position(|((new, old), mask)| (new ^ old) & !mask != 0) {
            return Err(Sense::INVALID_PARAMETER.at(at + 2 + n));
        }
        pages.push(Page { content: content.to_vec(), ..page.clone() });
        rest = tail;
    }
    match rest {
        [] => Ok(Select { header: header.len(), descriptor, pages }),
        _ => Err(Sense::PARAMETER_LIST_LENGTH),
    }
}
