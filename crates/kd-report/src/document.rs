//! What a report says, apart from how it looks: HTML and Markdown are two renderings of this.

use kd_core::Result;

use crate::chart::{self, Lines, Size};
use crate::curves::OrderVerdict;
use crate::paired::Told;
use crate::verdict::Verdict;

/// A whole report.
pub(crate) struct Document {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    /// Whether models were attacked, which needs some more style.
    pub(crate) adversarial: bool,
    /// What a reader must know before the first number.
    pub(crate) notices: Vec<String>,
    pub(crate) sections: Vec<Section>,
}

/// A heading and what stands below it.
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

/// One piece of a section.
pub(crate) enum Block {
    Text(String),
    /// Names and values.
    Facts(Vec<(&'static str, String)>),
    Table(Table),
    Grids(Vec<Grid>),
    /// Blocks behind their title.
    Folded {
        title: &'static str,
        blocks: Vec<Block>,
    },
    /// Only in HTML.
    Figure(Figure),
    Pictures(Vec<Picture>),
    /// A long text behind its title.
    Details {
        title: &'static str,
        text: String,
    },
}

/// A table; each row has a cell for every column.
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
}

/// Head of a column.
pub(crate) struct Column {
    /// Stands above neighboring columns of the same group; empty for none.
    pub(crate) group: &'static str,
    pub(crate) name: String,
}

/// A row of a table.
pub(crate) enum Row {
    Heading(String),
    Cells(Vec<Cell>),
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Empty,
    Text(String),
    /// A name that stands in a file.
    Code(String),
    Number {
        main: String,
        spread: String,
    },
    Verdict(Verdict),
    /// What is said of an effect.
    Told(Told),
    /// What is said of an order.
    Order(OrderVerdict),
    /// A check of an audit: how many seeds pass it.
    Check {
        passed: usize,
        of: usize,
    },
    /// A text that may take several lines.
    Words(String),
}

/// Numbers over two settings, shown as a heat map.
pub(crate) struct Grid {
    pub(crate) title: String,
    pub(crate) rows: Vec<String>,
    pub(crate) columns: Vec<String>,
    /// Row by row.
    pub(crate) cells: Vec<Vec<Option<Shaded>>>,
}

/// A cell of a heat map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shaded {
    pub(crate) text: String,
    /// Stands below it; empty for none.
    pub(crate) spread: String,
    /// The color from -1 (orange) to 1 (blue).
    pub(crate) shade: f64,
}

/// Charts that share a legend.
pub(crate) struct Figure {
    pub(crate) caption: String,
    pub(crate) legend: Vec<Legend>,
    /// Least width of a panel, in widths of a large letter (CSS `rem`).
    pub(crate) width: u32,
    pub(crate) panels: Vec<Panel>,
}

/// One chart.
pub(crate) struct Panel {
    /// Stands above it; empty for none.
    pub(crate) title: String,
    /// What it shows, for those who do not see it.
    pub(crate) words: String,
    pub(crate) svg: String,
}

/// A PNG file of the run: in HTML its bytes, in Markdown a link.
pub(crate) struct Picture {
    /// Path relative to the report.
    pub(crate) file: String,
    /// Its bytes, or why it is not shown.
    pub(crate) png: std::result::Result<Vec<u8>, &'static str>,
    /// What stands beside each row of the picture.
    pub(crate) rows: Vec<String>,
    pub(crate) caption: String,
}

/// A color and what it stands for.
pub(crate) struct Legend {
    pub(crate) label: String,
    pub(crate) hue: crate::chart::Hue,
}

impl Section {
    /// A section, unless there is nothing to say.
    pub(crate) fn of(title: &str, blocks: Vec<Block>) -> Option<Self> {
        (!blocks.is_empty()).then(|| Self { title: title.into(), blocks })
    }

    /// A section of one table, unless it has no rows.
    pub(crate) fn of_table(title: &str, table: Table) -> Option<Self> {
        (!table.rows.is_empty())
            .then(|| Self { title: title.into(), blocks: vec![Block::Table(table)] })
    }
}

impl Cell {
    /// A number without a spread.
    pub(crate) fn number(main: String) -> Self {
        Self::Number { main, spread: String::new() }
    }
}

impl Shaded {
    /// A cell without a spread.
    pub(crate) fn plain(text: String, shade: f64) -> Self {
        Self { text, spread: String::new(), shade }
    }
}

/// A chart of lines before it is drawn.
pub(crate) struct Plot {
    pub(crate) title: String,
    /// What it shows, for those who do not see it.
    pub(crate) words: String,
    pub(crate) lines: Lines,
}

impl Plot {
    /// One whose title says what it shows.
    pub(crate) fn new(title: impl Into<String>, lines: Lines) -> Self {
        let title = title.into();
        Self { words: title.clone(), title, lines }
    }
}

impl Figure {
    /// Draws the charts, as large as their number allows.
    ///
    /// # Errors
    /// When a chart cannot be drawn.
    pub(crate) fn of(caption: String, legend: Vec<Legend>, plots: Vec<Plot>) -> Result<Self> {
        let size = Size::of(plots.len());
        let panel = |Plot { title, words, lines }| {
            Ok(Panel { title, words, svg: chart::lines(&lines, size)? })
        };
        let panels = plots.into_iter().map(panel).collect::<Result<_>>()?;
        Ok(Self { caption, legend, width: size.on_page, panels })
    }
}

impl Column {
    /// Columns without a group.
    pub(crate) fn plain(names: &[&str]) -> Vec<Self> {
        Self::grouped("", names)
    }

    /// Columns of one group.
    pub(crate) fn grouped(group: &'static str, names: &[&str]) -> Vec<Self> {
        names.iter().map(|name| Self { group, name: (*name).into() }).collect()
    }
}

/// `PASS` or `FAIL`, with a sign that needs no color, and with the number of seeds that pass where they
/// differ.
pub(crate) fn check(passed: usize, of: usize) -> String {
    match passed {
        0 => "\u{2717} FAIL".into(),
        _ if passed == of => "\u{2713} PASS".into(),
        _ => format!("\u{2717} FAIL: {passed} of {of} seeds pass"),
    }
}

impl Table {
    /// Whether column `index` holds numbers.
    pub(crate) fn is_numeric(&self, index: usize) -> bool {
        self.rows.iter().any(|row| match row {
            Row::Cells(cells) => matches!(cells.get(index), Some(Cell::Number { .. })),
            Row::Heading(_) => false,
        })
    }

    /// Whether column `index` is the first of a named group.
    pub(crate) fn starts_group(&self, index: usize) -> bool {
        let group = |i: usize| self.columns.get(i).map_or("", |column| column.group);
        let before = index.checked_sub(1).map_or("", group);
        !group(index).is_empty() && group(index) != before
    }
}
