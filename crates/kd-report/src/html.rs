//! The document as one self-contained HTML page: no script, nothing loaded from elsewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::chart;
use crate::curves::OrderVerdict;
use crate::document::{Block, Cell, Document, Figure, Grid, Picture, Row, Table, check};
use crate::paired::Told;
use crate::verdict::Verdict;

/// Renders `document`.
pub(crate) fn render(document: &Document) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (document.title) }
                style { (PreEscaped(include_str!("style.css"))) }
                @if document.adversarial {
                    style { (PreEscaped(include_str!("adversarial.css"))) }
                }
            }
            body {
                header {
                    h1 { (document.title) }
                    p.subtitle { (document.subtitle) }
                    @for notice in &document.notices { p.notice role="note" { (notice) } }
                }
                @for section in &document.sections {
                    section {
                        h2 { (section.title) }
                        @for each in &section.blocks { (block(each)) }
                    }
                }
            }
        }
    }
    .into_string()
        + "\n"
}

fn block(piece: &Block) -> Markup {
    match piece {
        Block::Text(text) => html! { p { (coded(text)) } },
        Block::Facts(facts) => html! {
            dl { @for (name, value) in facts { dt { (name) } dd { (value) } } }
        },
        Block::Table(table) => self::table(table),
        Block::Grids(grids) => html! { div.grids { @for each in grids { (grid(each)) } } },
        Block::Figure(figure) => self::figure(figure),
        Block::Pictures(pictures) => html! {
            div.pictures { @for each in pictures { (picture(each)) } }
        },
        Block::Folded { title, blocks } => html! {
            details { summary { (title) } @for each in blocks { (block(each)) } }
        },
        Block::Details { title, text } => html! {
            details { summary { (title) } pre { (text) } }
        },
    }
}

/// Text whose parts between backquotes are code.
fn coded(text: &str) -> Markup {
    html! {
        @for (i, part) in text.split('`').enumerate() {
            @if i % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn table(table: &Table) -> Markup {
    html! {
        figure {
            div.scroll {
                table {
                    thead { (group_heads(table)) (heads(table)) }
                    tbody { @for each in &table.rows { (row(table, each)) } }
                }
            }
            figcaption { (table.caption) }
        }
    }
}

fn group_heads(table: &Table) -> Markup {
    html! {
        @if table.columns.iter().any(|column| !column.group.is_empty()) {
            tr {
                @for (group, span) in groups(table) {
                    @if group.is_empty() { td colspan=(span) {} }
                    @else { th.group.first scope="colgroup" colspan=(span) { (group) } }
                }
            }
        }
    }
}

fn heads(table: &Table) -> Markup {
    html! {
        tr {
            @for (i, column) in table.columns.iter().enumerate() {
                th.num[table.is_numeric(i)].first[table.starts_group(i)] scope="col" { (column.name) }
            }
        }
    }
}

fn row(table: &Table, row: &Row) -> Markup {
    html! {
        @match row {
            Row::Heading(title) => {
                tr.heading { th colspan=(table.columns.len()) { (title) } }
            }
            Row::Cells(cells) => tr {
                @for (i, each) in cells.iter().enumerate() {
                    td.num[table.is_numeric(i)].first[table.starts_group(i)] { (cell(each)) }
                }
            }
        }
    }
}

/// The heads above the heads: each with the number of columns below it.
fn groups(table: &Table) -> Vec<(&str, usize)> {
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for column in &table.columns {
        match groups.last_mut() {
            Some((group, span)) if *group == column.group => *span += 1,
            _ => groups.push((column.group, 1)),
        }
    }
    groups
}

fn cell(cell: &Cell) -> Markup {
    match cell {
        Cell::Empty => html! { span.none { "\u{2013}" } },
        Cell::Text(text) => html! { (text) },
        Cell::Code(text) => html! { code { (text) } },
        Cell::Number { main, spread } => html! {
            (main) @if !spread.is_empty() { " " span.spread { (spread) } }
        },
        Cell::Words(text) => html! { span.words { (text) } },
        Cell::Check { passed, of } => html! {
            span.verdict.(if passed == of { "same" } else { "worse" }) { (check(*passed, *of)) }
        },
        Cell::Order(OrderVerdict::None) | Cell::Verdict(Verdict::None) => {
            html! { span.none { "none" } }
        }
        Cell::Order(verdict) => html! {
            span.verdict.(verdict.class()) { (verdict.words()) }
        },
        Cell::Verdict(verdict) => html! { span.verdict.(verdict.class()) { (verdict.words()) } },
        Cell::Told(told) => html! { span.verdict.(told.class()) { (told.words()) } },
    }
}

/// A picture with the words for its rows, or why there is none.
fn picture(picture: &Picture) -> Markup {
    html! {
        figure {
            @match &picture.png {
                Ok(png) => div.rows {
                    img src=(data_uri(png)) alt=(picture.caption);
                    ul { @for row in &picture.rows { li { (row) } } }
                },
                Err(reason) => p.none { (picture.file) " " (reason) },
            }
            figcaption { (picture.caption) }
        }
    }
}

fn data_uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

impl Verdict {
    fn class(self) -> &'static str {
        match self {
            Self::Reproduced => "same",
            Self::Better => "better",
            Self::Worse | Self::Differs => "worse",
            Self::Open => "open",
            Self::None => "none",
        }
    }
}

impl Told {
    fn class(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Open => "open",
        }
    }
}

impl OrderVerdict {
    fn class(self) -> &'static str {
        match self {
            Self::Reproduced => "same",
            Self::Contradicted => "worse",
            Self::Undecided | Self::None => "open",
        }
    }
}

fn grid(grid: &Grid) -> Markup {
    html! {
        table.grid {
            caption { (grid.title) }
            thead { tr { td {} @for column in &grid.columns { th scope="col" { (column) } } } }
            tbody {
                @for (name, cells) in grid.rows.iter().zip(&grid.cells) {
                    tr {
                        th scope="row" { (name) }
                        @for each in cells {
                            @match each {
                                Some(cell) => td style=(shading(cell.shade)) {
                                    (cell.text)
                                    @if !cell.spread.is_empty() { span.spread { (cell.spread) } }
                                },
                                None => td.none { "\u{2013}" },
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Blue for positive, orange for negative; translucent, so that it suits a dark page too.
fn shading(shade: f64) -> String {
    let color = if shade < 0.0 { "213 94 0" } else { "0 114 178" };
    format!("background:rgb({color} / {:.2})", 0.06 + 0.54 * shade.abs().min(1.0))
}

fn figure(figure: &Figure) -> Markup {
    html! {
        figure {
            p.legend {
                @for entry in &figure.legend {
                    span { i style=(format!("border-color:{}", chart::css(entry.hue))) {} (entry.label) }
                }
            }
            div.panels style=(format!("--width:{}rem", figure.width)) {
                @for panel in &figure.panels {
                    div role="img" aria-label=(panel.words) {
                        @if !panel.title.is_empty() { h3 { (panel.title) } }
                        (PreEscaped(&panel.svg))
                    }
                }
            }
            figcaption { (figure.caption) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_are_bounded_and_signed() {
        assert_eq!(shading(0.0), "background:rgb(0 114 178 / 0.06)");
        assert_eq!(shading(-7.0), "background:rgb(213 94 0 / 0.60)");
    }

    #[test]
    fn a_picture_is_embedded_or_its_absence_explained() {
        let of =
            |png| Picture { file: "<a>".into(), png, rows: vec!["7".into()], caption: "c".into() };
        let shown = picture(&of(Ok(b"Man".to_vec()))).into_string();
        assert!(shown.contains("src=\"data:image/png;base64,TWFu\" alt=\"c\""), "{shown}");
        assert!(shown.contains("<li>7</li>"));
        let missing = picture(&of(Err("is missing"))).into_string();
        assert!(missing.contains("&lt;a&gt; is missing") && !missing.contains("<img"), "{missing}");
    }

    #[test]
    fn text_is_escaped() {
        let text = coded("a <b> `<c>` d").into_string();
        assert_eq!(text, "a &lt;b&gt; <code>&lt;c&gt;</code> d");
    }
}
