//! A text screen as a file: characters and attributes of every cell, in the form of `guests/golden`.

use std::fmt::Write;

use slotone_s3trio::TextScreen;

fn hex(bytes: impl Iterator<Item = u8>) -> String {
    bytes.fold(String::new(), |mut line, byte| {
        let _ = write!(line, "{byte:02x}");
        line
    })
}

/// The lines of such a file: `screen COLUMNS ROWS`, the cursor, then codes and attributes row by row.
pub(crate) fn to_text(screen: &TextScreen) -> String {
    let mut out = format!("screen {} {}\n", screen.columns, screen.rows);
    match &screen.cursor {
        Some(cursor) => out += &format!("cursor {} {}\n", cursor.column, cursor.row),
        None => out += "cursor off\n",
    }
    for (row, line) in screen.to_lines().iter().enumerate() {
        let codes = hex(screen.row(row).iter().map(|c| c.0));
        let attributes = hex(screen.row(row).iter().map(|c| c.1));
        out += &format!("# {row:02} |{line}\nc {row:02} {codes}\na {row:02} {attributes}\n");
    }
    out
}
