//! The serial ROM's content: DEC's "21X4 Serial ROM Format", version 3 (and what of versions 1 and 4 is alike).
//!
//! 128 bytes: subsystem IDs with an eight-bit CRC, the Ethernet address, one information leaf that describes the media, and a 16-bit
//! CRC over all. Drivers read it bit by bit through CSR9; some refuse an adapter whose CRCs are wrong.
//!
//! ```
//! use slotone_net::MacAddress;
//! use slotone_tulip_nic::srom::Srom;
//! let rom = Srom::new(0, MacAddress([0x00, 0x03, 0xff, 0x11, 0x22, 0x33]));
//! let image = rom.image()?;
//! assert_eq!((image[16], &image[126..]), (0x1d, &[0x76, 0x48][..]), "both CRCs");
//! assert_eq!(Srom::parse(&image)?, rom);
//! # Ok::<(), slotone_tulip_nic::srom::SromError>(())
//! ```

use slotone_net::MacAddress;
use thiserror::Error;

/// Bytes of the ROM.
pub const LEN: usize = 128;
/// Where the total CRC is.
const CRC_AT: usize = 126;
/// Where the leaf of the only controller begins in an image made here: behind the header, where every known image has it.
const LEAF_AT: usize = 30;
/// Selected connection type: autosense.
const AUTOSENSE: u16 = 0x0800;

/// A way to a medium, as an information block describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InfoBlock {
    /// Compact (type 0): a medium without MII.
    Compact {
        /// Medium code, 0 to 63.
        media: u8,
        /// What the general-purpose port gets.
        gpr: u8,
        /// How CSR6 is set, and where the medium can be sensed.
        command: u16,
    },
    /// Type 1: an MII PHY of a 21140.
    Mii {
        /// Index of the PHY among those found, not its address.
        phy: u8,
        /// Bytes for the general-purpose port that select it.
        gpr_sequence: Vec<u8>,
        /// Bytes for the general-purpose port that reset it.
        reset_sequence: Vec<u8>,
        /// Media capabilities, as bits 15:11 of the status register.
        capabilities: u16,
        /// What is advertised, as in the advertisement register.
        advertisement: u16,
        /// Media on which CSR6 FD is set.
        full_duplex: u16,
        /// Media on which CSR6 TTM is set.
        transmit_threshold: u16,
    },
    /// A type that is not described here.
    Other {
        /// Type.
        kind: u8,
        /// What follows the type.
        data: Vec<u8>,
    },
}

/// What a serial ROM says of an adapter with one controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srom {
    /// Subsystem vendor ID and subsystem ID, as CSID shows them.
    pub subsystem: (u16, u16),
    /// Format version: 1, 3 or 4. Version 1 knows compact blocks only.
    pub version: u8,
    /// Ethernet address.
    pub mac: MacAddress,
    /// Selected connection type; 0800h is autosense.
    pub connection: u16,
    /// Which pins of the general-purpose port are outputs.
    pub gpr_direction: u8,
    /// Media, the preferred one last.
    pub blocks: Vec<InfoBlock>,
}

/// Why bytes are no serial ROM, or a description does not fit into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SromError {
    /// The CRC over the subsystem IDs.
    #[error("the ID block's CRC is {found:02x}h, expected {expected:02x}h")]
    IdCrc {
        /// CRC of the bytes.
        expected: u8,
        /// CRC found.
        found: u8,
    },
    /// The CRC over all.
    #[error("the ROM's CRC is {found:04x}h, expected {expected:04x}h")]
    Crc {
        /// CRC of the bytes.
        expected: u16,
        /// CRC found.
        found: u16,
    },
    /// The format version.
    #[error("expected format version 1, 3 or 4, found {0}")]
    Version(u8),
    /// The controller count.
    #[error("expected one controller, found {0}")]
    Controllers(u8),
    /// The leaf or a block in it.
    #[error("byte {at} of the information leaf is wrong: {what}")]
    Leaf {
        /// Offset in the ROM.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The description takes too much room.
    #[error("the media blocks take {0} bytes too many")]
    TooLong(usize),
    /// A field of the description has no place in a ROM.
    #[error("a media block cannot be written: {0}")]
    Block(&'static str),
}

/// The CRC of the ID block: over bytes 0 to 17 without byte 16, which holds it; words with their most significant bit first.
pub fn id_crc(image: &[u8; LEN]) -> u8 {
    let mut crc = 0xffu8;
    for word in 0..9 {
        for byte in [2 * word + 1, 2 * word] {
            if byte == 16 {
                break;
            }
            for bit in (0..8).rev() {
                let feedback = crc >> 7 != image[byte] >> bit & 1;
                crc = crc << 1 ^ if feedback { 0x07 } else { 0 };
            }
        }
    }
    crc
}

/// The CRC over bytes 0 to 125: the low half of the CRC-32 that Ethernet uses.
pub fn crc(image: &[u8; LEN]) -> u16 {
    crc32fast::hash(&image[..CRC_AT]) as u16
}

/// Puts both CRCs where they belong.
pub fn seal(image: &mut [u8; LEN]) {
    image[16] = id_crc(image);
    let crc = crc(image);
    image[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

impl InfoBlock {
    /// The MII PHY of Virtual Server's card: 10BASE-T and 100BASE-TX, half and full duplex.
    pub fn mii() -> Self {
        Self::Mii {
            phy: 0,
            gpr_sequence: Vec::new(),
            reset_sequence: Vec::new(),
            capabilities: 0x7800,
            advertisement: 0x01e0,
            full_duplex: 0x5000,
            transmit_threshold: 0x1800,
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), SromError> {
        match self {
            Self::Compact { media, gpr, command } => {
                if *media > 0x3f {
                    return Err(SromError::Block("a medium code has six bits"));
                }
                out.extend([*media, *gpr]);
                out.extend(command.to_le_bytes());
            }
            Self::Mii { phy, gpr_sequence, reset_sequence, .. } => {
                let mut data = vec![*phy];
                for sequence in [gpr_sequence, reset_sequence] {
                    let len = u8::try_from(sequence.len());
                    data.push(len.map_err(|_| SromError::Block("a sequence has at most 255 bytes"))?);
                    data.extend(sequence);
                }
                // The order in the ROM: lengths and sequences by pairs, then the words.
                for word in self.words() {
                    data.extend(word.to_le_bytes());
                }
                extended(1, &data, out)?;
            }
            Self::Other { kind: 1, .. } => return Err(SromError::Block("type 1 is the MII block")),
            Self::Other { kind, data } => extended(*kind, data, out)?,
        }
        Ok(())
    }

    fn words(&self) -> [u16; 4] {
        match self {
            Self::Mii { capabilities, advertisement, full_duplex, transmit_threshold, .. } => {
                [*capabilities, *advertisement, *full_duplex, *transmit_threshold]
            }
            _ => [0; 4],
        }
    }
}

/// An extended block: a length without itself, bit 7 set, and the type.
fn extended(kind: u8, data: &[u8], out: &mut Vec<u8>) -> Result<(), SromError> {
    if data.len() + 1 > 0x7f {
        return Err(SromError::Block("an extended block has at most 127 bytes"));
    }
    out.extend([0x80 | (data.len() + 1) as u8, kind]);
    out.extend(data);
    Ok(())
}

/// Takes the leaf apart, front to back.
struct Leaf<'a> {
    image: &'a [u8; LEN],
    at: usize,
}

impl Leaf<'_> {
    fn take(&mut self, n: usize) -> Result<&[u8], SromError> {
        let end = self.at.saturating_add(n);
        if end > CRC_AT {
            return Err(SromError::Leaf { at: self.at, what: "it leaves the ROM" });
        }
        let bytes = &self.image[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, SromError> {
        Ok(self.take(1)?[0])
    }

    fn word(&mut self) -> Result<u16, SromError> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn sequence(&mut self) -> Result<Vec<u8>, SromError> {
        let len = usize::from(self.byte()?);
        Ok(self.take(len)?.to_vec())
    }

    fn block(&mut self, version: u8) -> Result<InfoBlock, SromError> {
        let start = self.at;
        let first = self.byte()?;
        if first & 0x80 == 0 {
            if first > 0x3f {
                return Err(SromError::Leaf { at: start, what: "a medium code has six bits" });
            }
            return Ok(InfoBlock::Compact { media: first, gpr: self.byte()?, command: self.word()? });
        }
        if version < 3 {
            return Err(SromError::Leaf { at: start, what: "version 1 has compact blocks only" });
        }
        let end = self.at + usize::from(first & 0x7f);
        let kind = self.byte()?;
        let block = if kind == 1 {
            InfoBlock::Mii {
                phy: self.byte()?,
                gpr_sequence: self.sequence()?,
                reset_sequence: self.sequence()?,
                capabilities: self.word()?,
                advertisement: self.word()?,
                full_duplex: self.word()?,
                transmit_threshold: self.word()?,
            }
        } else {
            let rest = end.saturating_sub(self.at);
            InfoBlock::Other { kind, data: self.take(rest)?.to_vec() }
        };
        if self.at != end {
            return Err(SromError::Leaf { at: start, what: "the block's length does not fit its content" });
        }
        Ok(block)
    }
}

impl Srom {
    /// The ROM of network card `port` (0 to 3) as Virtual Server numbered them: subsystem 0A00h + port : 2114h, one MII PHY, autosense.
    pub fn new(port: u8, mac: MacAddress) -> Self {
        Self {
            subsystem: (0x0a00 + u16::from(port & 3), 0x2114),
            version: 3,
            mac,
            connection: AUTOSENSE,
            gpr_direction: 0xff,
            blocks: vec![InfoBlock::mii()],
        }
    }

    /// The 128 bytes.
    ///
    /// # Errors
    /// [`SromError::TooLong`], [`SromError::Block`] or [`SromError::Version`] if they have no place for what is described.
    pub fn image(&self) -> Result<[u8; LEN], SromError> {
        if !matches!(self.version, 1 | 3 | 4) {
            return Err(SromError::Version(self.version));
        }
        let mut leaf = self.connection.to_le_bytes().to_vec();
        let count = u8::try_from(self.blocks.len()).map_err(|_| SromError::TooLong(self.blocks.len()))?;
        leaf.extend([self.gpr_direction, count]);
        for block in &self.blocks {
            if self.version < 3 && !matches!(block, InfoBlock::Compact { .. }) {
                return Err(SromError::Block("version 1 has compact blocks only"));
            }
            block.write(&mut leaf)?;
        }
        let end = LEAF_AT + leaf.len();
        if end > CRC_AT {
            return Err(SromError::TooLong(end - CRC_AT));
        }
        let mut image = [0; LEN];
        image[0..2].copy_from_slice(&self.subsystem.0.to_le_bytes());
        image[2..4].copy_from_slice(&self.subsystem.1.to_le_bytes());
        image[18] = self.version;
        image[19] = 1;
        image[20..26].copy_from_slice(&self.mac.0);
        image[27..29].copy_from_slice(&(LEAF_AT as u16).to_le_bytes());
        image[LEAF_AT..end].copy_from_slice(&leaf);
        seal(&mut image);
        Ok(image)
    }

    /// Reads the 128 bytes.
    ///
    /// # Errors
    /// Every [`SromError`] but those of [`Srom::image`].
    pub fn parse(image: &[u8; LEN]) -> Result<Self, SromError> {
        let word = |at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
        if image[16] != id_crc(image) {
            return Err(SromError::IdCrc { expected: id_crc(image), found: image[16] });
        }
        if word(CRC_AT) != crc(image) {
            return Err(SromError::Crc { expected: crc(image), found: word(CRC_AT) });
        }
        let (version, controllers) = (image[18], image[19]);
        if !matches!(version, 1 | 3 | 4) {
            return Err(SromError::Version(version));
        }
        if controllers != 1 {
            return Err(SromError::Controllers(controllers));
        }
        let mut mac = MacAddress([0; 6]);
        mac.0.copy_from_slice(&image[20..26]);
        let mut leaf = Leaf { image, at: usize::from(word(27)) };
        if leaf.at < 29 {
            return Err(SromError::Leaf { at: leaf.at, what: "it lies in the header" });
        }
        let (connection, gpr_direction, count) = (leaf.word()?, leaf.byte()?, leaf.byte()?);
        let blocks = (0..count).map(|_| leaf.block(version)).collect::<Result<_, _>>()?;
        Ok(Self { subsystem: (word(0), word(2)), version, mac, connection, gpr_direction, blocks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_image_that_drivers_were_seen_to_accept() {
        let image = Srom::new(0, MacAddress([0, 3, 0xff, 0x11, 0x22, 0x33])).image().unwrap();
        let mut expected = [0; 128];
        let head: [&[u8]; 3] = [
            &[0x00, 0x0a, 0x14, 0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x1d, 0, 3, 1, 0, 3, 0xff, 0x11, 0x22, 0x33, 0, 0x1e, 0, 0, 0, 8],
            &[0xff, 1, 0x8c, 1, 0, 0, 0, 0, 0x78, 0xe0, 1, 0, 0x50, 0, 0x18, 0],
        ];
        expected[..48].copy_from_slice(&head.concat());
        expected[126..].copy_from_slice(&[0x76, 0x48]);
        assert_eq!(image, expected);
    }

    #[test]
    fn crcs_of_other_cards() {
        let second = Srom::new(1, MacAddress([0, 3, 0xff, 0, 0, 1])).image().unwrap();
        assert_eq!((second[0], second[16], &second[126..]), (1, 0x1f, &[0x9e, 0x43][..]));
        let rom = Srom { gpr_direction: 0, ..Srom::new(0, MacAddress([0, 0x15, 0x5d, 1, 2, 3])) };
        assert_eq!(rom.image().unwrap()[126..], [0x87, 0x3e]);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let image = Srom::new(3, MacAddress([0, 3, 0xff, 7, 8, 9])).image().unwrap();
        for bit in 0..LEN * 8 {
            let mut bad = image;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Srom::parse(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let rom = Srom::new(0, MacAddress([0; 6]));
        let with = |blocks: Vec<InfoBlock>| Srom { blocks, ..rom.clone() }.image();
        assert_eq!(with(vec![InfoBlock::mii(); 8]), Err(SromError::TooLong(12)));
        assert!(with(vec![InfoBlock::Compact { media: 0x40, gpr: 0, command: 0 }]).is_err());
        assert!(with(vec![InfoBlock::Other { kind: 4, data: vec![0; 127] }]).is_err());
        assert!(with(vec![InfoBlock::Other { kind: 1, data: vec![] }]).is_err());
        assert_eq!(Srom { version: 2, ..rom.clone() }.image(), Err(SromError::Version(2)));
        assert!(Srom { version: 1, ..rom }.image().is_err());
    }

    fn block() -> impl Strategy<Value = InfoBlock> {
        let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
        prop_oneof![
            (0u8..0x40, any::<u8>(), any::<u16>()).prop_map(|(media, gpr, command)| InfoBlock::Compact {
                media,
                gpr,
                command
            }),
            (any::<u8>(), bytes(6), bytes(6), any::<[u16; 4]>()).prop_map(|(phy, gpr, reset, words)| {
                InfoBlock::Mii {
                    phy,
                    gpr_sequence: gpr,
                    reset_sequence: reset,
                    capabilities: words[0],
                    advertisement: words[1],
                    full_duplex: words[2],
                    transmit_threshold: words[3],
                }
            }),
            (2u8..9, bytes(20)).prop_map(|(kind, data)| InfoBlock::Other { kind, data }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_described_is_read_back(
            mac: [u8; 6], subsystem: (u16, u16), connection: u16, gpr_direction: u8,
            blocks in proptest::collection::vec(block(), 0..5),
        ) {
            let mac = MacAddress(mac);
            let rom = Srom { subsystem, version: 3, mac, connection, gpr_direction, blocks };
            match rom.image() {
                Ok(image) => prop_assert_eq!(Srom::parse(&image), Ok(rom)),
                Err(e) => prop_assert!(matches!(e, SromError::TooLong(_))),
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(mut bytes in proptest::collection::vec(any::<u8>(), LEN), sane: bool) {
            let image: &mut [u8; LEN] = bytes.as_mut_slice().try_into().unwrap();
            if sane {
                (image[18], image[19], image[27], image[28]) = (3, 1, image[27] & 0x7f, 0);
            }
            seal(image);
            if let Ok(rom) = Srom::parse(image) {
                // A leaf elsewhere may be longer than one that this crate places.
                if let Ok(own) = rom.image() {
                    prop_assert_eq!(Srom::parse(&own), Ok(rom));
                }
            }
        }
    }
}
