//! Tables: borderless, readable when cut and pasted.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableStyle};

use super::{Style, paint_stdout, printable};

/// Lays `rows` out under `header`; the first column is the name.
pub fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new())
        .set_content_arrangement(ContentArrangement::Disabled);
    let titled = header.iter().any(|title| !title.is_empty());
    if titled {
        table.set_header(header);
    }
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        column.set_cell_alignment(CellAlignment::Left);
    }
    let first = table.column_max_content_widths().first().copied();
    let lines = table.lines().enumerate().map(|(at, line)| {
        paint(
            line.trim_end(),
            titled && at == 0,
            first.unwrap_or(0).into(),
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Colours after the layout, which counts characters.
fn paint(line: &str, is_header: bool, first: usize) -> String {
    if is_header {
        return paint_stdout(Style::Dim, line);
    }
    let end = line
        .char_indices()
        .nth(first)
        .map_or(line.len(), |(at, _)| at);
    let (name, rest) = line.split_at(end);
    let spaces = name.len() - name.trim_end().len();
    let name = paint_stdout(Style::Name, name.trim_end());
    format!("{name}{}{rest}", " ".repeat(spaces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let rows = [
            ["a".to_owned(), "x\u{1b}y".to_owned()],
            ["long".into(), "z".into()],
        ];
        assert_eq!(
            table(["key", "value"], rows.clone()),
            "key   value\na     x?y\nlong  z"
        );
        assert_eq!(table(["", ""], rows), "a     x?y\nlong  z");
    }
}
