//! The document as Markdown (GitHub's), without the charts.

use std::fmt::Write;

use crate::document::{Block, Cell, Column, Document, Grid, Picture, Row, Shaded, Table, check};
use crate::verdict::Verdict;

/// Renders `document`.
pub(crate) fn render(document: &Document) -> String {
    let mut text = format!("# {}\n\n{}\n", escape(&document.title), escape(&document.subtitle));
    for notice in &document.notices {
        let _ = write!(text, "\n> **{}**\n", escape(notice));
    }
    for section in &document.sections {
        let _ = write!(text, "\n## {}\n", escape(&section.title));
        section.blocks.iter().for_each(|each| block(&mut text, each));
    }
    text
}

fn block(text: &mut String, block: &Block) {
    let piece = match block {
        Block::Text(paragraph) => format!("{}\n", escape_text(paragraph)),
        Block::Facts(facts) => {
            facts.iter().map(|(name, value)| format!("- {name}: {}\n", escape(value))).collect()
        }
        Block::Table(table) => self::table(table),
        Block::Grids(grids) => grids.iter().map(grid).collect::<Vec<_>>().join("\n"),
        Block::Figure(_) => return,
        Block::Pictures(pictures) => pictures.iter().map(picture).collect::<Vec<_>>().join("\n"),
        Block::Folded { title, blocks } => {
            let _ = write!(text, "\n{title}:\n");
            return blocks.iter().for_each(|each| self::block(text, each));
        }
        Block::Details { title, text } => details(title, text),
    };
    let _ = write!(text, "\n{piece}");
}

/// A fence longer than any in the text, so that nothing in it can end the block.
fn details(title: &str, text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{title}:\n\n{fence}toml\n{}\n{fence}\n", text.trim_end())
}

/// Renders `table`, its caption below.
pub(crate) fn table(table: &Table) -> String {
    let mut text = line(table.columns.iter().map(head));
    text += &line((0..table.columns.len()).map(|i| rule(table, i).to_owned()));
    for row in &table.rows {
        text += &match row {
            Row::Heading(title) => {
                let rest = std::iter::repeat_n(String::new(), table.columns.len() - 1);
                line(std::iter::once(format!("**{}**", escape(title))).chain(rest))
            }
            Row::Cells(cells) => line(cells.iter().map(cell)),
        };
    }
    if !table.caption.is_empty() {
        let _ = write!(text, "\n{}\n", escape(&table.caption));
    }
    text
}

fn head(column: &Column) -> String {
    match column.group {
        "" => escape(&column.name),
        group => escape(&format!("{}, {group}", column.name)),
    }
}

fn rule(table: &Table, index: usize) -> &'static str {
    if table.is_numeric(index) { "---:" } else { "---" }
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Empty => "\u{2013}".into(),
        Cell::Text(text) | Cell::Words(text) => escape(text),
        Cell::Check { passed, of } => check(*passed, *of),
        Cell::Code(text) => escape(text),
        Cell::Number { main, spread } if spread.is_empty() => main.clone(),
        Cell::Number { main, spread } if spread.starts_with('±') => format!("{main} {spread}"),
        Cell::Number { main, spread } => format!("{main} ({spread})"),
        Cell::Order(verdict) => verdict.words().into(),
        Cell::Verdict(Verdict::None) => "none".into(),
        Cell::Verdict(verdict) => verdict.words().into(),
        Cell::Told(told) => told.words().into(),
    }
}

fn grid(grid: &Grid) -> String {
    let columns = std::iter::once(grid.title.clone()).chain(grid.columns.iter().cloned());
    let mut text = line(columns.map(|name| escape(&name)));
    text += &line((0..=grid.columns.len()).map(|i| if i == 0 { "---" } else { "---:" }.to_owned()));
    for (name, cells) in grid.rows.iter().zip(&grid.cells) {
        text += &line(std::iter::once(escape(name)).chain(cells.iter().map(shaded)));
    }
    text
}

fn shaded(cell: &Option<Shaded>) -> String {
    match cell {
        None => "\u{2013}".into(),
        Some(cell) => format!("{} {}", cell.text, cell.spread).trim_end().to_owned(),
    }
}

/// A link to the file, or why there is none, and what its rows are.
fn picture(picture: &Picture) -> String {
    let caption = escape(&picture.caption);
    let image = match &picture.png {
        Ok(_) => format!("![{caption}](<{}>)", picture.file),
        Err(reason) => format!("{} {reason}", escape(&picture.file)),
    };
    let rows = match picture.rows.is_empty() {
        true => String::new(),
        false => format!(" Rows: {}.", escape(&picture.rows.join("; "))),
    };
    format!("{image}\n\n{caption}{rows}\n")
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

/// Makes `text` stand as it is: no markup, no HTML, no new cell or line.
fn escape(text: &str) -> String {
    let mut escaped = escape_text(text);
    for mark in ['*', '`', '[', ']'] {
        escaped = escaped.replace(mark, &format!("\\{mark}"));
    }
    escaped
}

/// As [`escape`], for our own paragraphs, which use code marks.
fn escape_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped += "&lt;",
            '&' => escaped += "&amp;",
            '|' | '\\' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_in_their_cell() {
        assert_eq!(escape("a|b\n<i>*x*"), "a\\|b &lt;i>\\*x\\*");
        assert!(details("t", "a ``` b ````").contains("\n`````toml\n"));
    }

    #[test]
    fn a_picture_is_a_link_or_its_absence_explained() {
        let of = |png| Picture {
            file: "a b.png".into(),
            png,
            rows: vec!["7".into()],
            caption: "c".into(),
        };
        assert_eq!(picture(&of(Ok(Vec::new()))), "![c](<a b.png>)\n\nc Rows: 7.\n");
        assert_eq!(picture(&of(Err("is missing"))), "a b.png is missing\n\nc Rows: 7.\n");
    }

    #[test]
    fn a_table_by_hand() {
        let columns = Column::plain(&["a", "b"]);
        let number = Cell::Number { main: "1".into(), spread: "± 2".into() };
        let rows =
            vec![Row::Heading("h".into()), Row::Cells(vec![Cell::Code("x_y".into()), number])];
        let expected = "| a | b |\n| --- | ---: |\n| **h** |  |\n| x_y | 1 ± 2 |\n\nc\n";
        assert_eq!(table(&Table { caption: "c".into(), columns, rows }), expected);
    }
}
