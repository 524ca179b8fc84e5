//! Tables: borderless, readable when cut and pasted.

use comfy_table::{ContentArrangement, Table};

use super::{Style, paint_stdout, printable};

/// Lays `rows` out under `header`; the first column is the name.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if header.iter().any(|title| !title.is_empty()) {
        table.set_header(header.map(|title| paint_stdout(Style::Dim, title)));
    }
    for row in rows {
        let mut cells = row.map(|cell| printable(&cell));
        if let Some(name) = cells.first_mut() {
            *name = paint_stdout(Style::Name, name);
        }
        table.add_row(cells);
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}
