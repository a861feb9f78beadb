//! Sector bitmaps: the first sector is the most significant bit of the first byte.

/// The value of the bit at `from` and how many bits up to `to` have it.
pub(crate) fn run(bits: &[u8], from: usize, to: usize) -> (bool, usize) {
    let set = get(bits, from);
    let same = if set { 0xFF } else { 0 };
    let mut i = from;
    while i < to {
        if i.is_multiple_of(8) && to - i >= 8 && bits[i / 8] == same {
            i += 8;
            // Whole words next.
            while to - i >= 64 && bits[i / 8..i / 8 + 8] == [same; 8] {
                i += 64;
            }
        } else if get(bits, i) == set {
            i += 1;
        } else {
            break;
        }
    }
    (set, i - from)
}

pub(crate) fn get(bits: &[u8], i: usize) -> bool {
    bits[i / 8] & (0x80 >> (i % 8)) != 0
}

/// The first `n` bits are set.
pub(crate) fn all_set(bits: &[u8], n: usize) -> bool {
    n == 0 || run(bits, 0, n) == (true, n)
}

/// Sets `from..to`.
pub(crate) fn set(bits: &mut [u8], from: usize, to: usize) {
    let mut i = from;
    while i < to {
        if i.is_multiple_of(8) && to - i >= 8 {
            bits[i / 8] = 0xFF;
            i += 8;
        } else {
            bits[i / 8] |= 0x80 >> (i % 8);
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_agree_with_single_bits() {
        let mut bits = [0u8; 64];
        set(&mut bits, 3, 5);
        set(&mut bits, 11, 200);
        set(&mut bits, 201, 512);
        for from in 0..512 {
            for to in [from + 1, from + 3, 512] {
                let to = to.min(512);
                let want = get(&bits, from);
                let n = (from..to).take_while(|i| get(&bits, *i) == want).count();
                assert_eq!(run(&bits, from, to), (want, n), "{from}..{to}");
            }
        }
        assert!(get(&bits, 3) && !get(&bits, 5) && !get(&bits, 200) && get(&bits, 511));
        assert!(!all_set(&bits, 4));
    }
}
