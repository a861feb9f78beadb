//! Code page 437, the character set in the PC's character generator, as Unicode.

/// Unicode of every code. 00h and FFh are blanks; 01h to 1Fh and 7Fh are the pictures that the character generator has there.
pub const TABLE: [char; 256] = {
    const CONTROLS: [char; 32] = [
        ' ', '☺', '☻', '♥', '♦', '♣', '♠', '•', '◘', '○', '◙', '♂', '♀', '♪', '♫', '☼', '►', '◄', '↕', '‼',
        '¶', '§', '▬', '↨', '↑', '↓', '→', '←', '∟', '↔', '▲', '▼',
    ];
    const UPPER: [char; 129] = [
        '⌂', 'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', 'É', 'æ', 'Æ',
        'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', 'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª',
        'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»', '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║',
        '╗', '╝', '╜', '╛', '┐', '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬',
        '╧', '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀', 'α', 'ß', 'Γ',
        'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', '≡', '±', '≥', '≤', '⌠', '⌡', '÷',
        '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{a0}',
    ];
    let mut table = [' '; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = if i < 32 {
            CONTROLS[i]
        } else if i < 127 {
            i as u8 as char
        } else {
            UPPER[i - 127]
        };
        i += 1;
    }
    table
};

/// The character that `code` shows.
pub const fn to_char(code: u8) -> char {
    TABLE[code as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_places() {
        for (code, c) in
            [(0x41, 'A'), (0x7f, '⌂'), (0x80, 'Ç'), (0xb0, '░'), (0xc4, '─'), (0xcd, '═'), (0xdb, '█')]
        {
            assert_eq!(to_char(code), c);
        }
        assert_eq!([0x01, 0x1f, 0xe1, 0xfe].map(to_char), ['☺', '▼', 'ß', '■']);
        let distinct: std::collections::HashSet<_> = TABLE[1..].iter().collect();
        assert_eq!(distinct.len(), 255);
    }
}
