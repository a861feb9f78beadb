//! VHD files beside bare file access and qemu-img (crates/vhd/benches/peers).

use serde_json::{Value, json};

use super::{build, output_of, peer};
use crate::error::{Error, Result};

pub(super) fn run(quick: bool) -> Result<Value> {
    peer("qemu-img", "qemu-utils")?;
    let program = build("slotone-vhd", "peers")?;
    let text = output_of(&program, if quick { &["--quick"] } else { &[] })?;
    print!("{text}");
    // | what | ours | peer | ratio | goal | met |
    let rows: Vec<Value> = text
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
            let [what, ours, peer, ratio, goal, met] = cells[..] else { return None };
            let ratio: f64 = ratio.parse().ok()?;
            Some(json!({ "what": what, "ours": ours, "peer": peer, "ratio": ratio, "goal": goal, "met": met == "yes" }))
        })
        .collect();
    if rows.is_empty() {
        return Err(Error::Check("the benchmark of slotone-vhd printed no row".into()));
    }
    Ok(json!({ "rows": rows }))
}
