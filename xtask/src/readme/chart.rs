//! A chart with a row for each thing, as SVG that follows a light or a dark page.

use std::fmt::Write;

/// Rows in groups, over one axis.
pub(super) struct Chart {
    pub(super) title: String,
    /// A heading, or nothing, and rows.
    pub(super) groups: Vec<(String, Vec<Row>)>,
    /// Where the axis begins: how much room the names have.
    pub(super) left: f64,
    /// Values at its left and right end.
    pub(super) ends: (f64, f64),
    /// A value with a line of its own.
    pub(super) line: Option<f64>,
}

/// One thing.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) mark: Mark,
    /// What stands at the right.
    pub(super) value: String,
}

/// What is drawn of it.
pub(super) enum Mark {
    /// From 0 to `low`, paler up to `high`.
    Bar { low: f64, high: f64 },
    /// From a ring to a point.
    Step { from: f64, to: f64 },
}

const WIDTH: f64 = 900.0;
/// Where the axis ends.
const RIGHT: f64 = 660.0;
const HEIGHT: f64 = 22.0;
const STYLE: &str = "<style>.page{fill:#fff}text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;\
    fill:#24292f}.q{fill:#57606a}.t{font-weight:600}line{stroke:#8886}.bar,.dot{fill:#0072b2}\
    .pale{fill:#0072b2;opacity:.45}.ring{fill:none;stroke:#d55e00;stroke-width:2}\
    .step{stroke:#8888;stroke-width:2}@media(prefers-color-scheme:dark){.page{fill:#16181b}text{fill:#e4e6e8}\
    .q{fill:#a3a7ad}.bar,.dot,.pale{fill:#56b4e9}.ring{stroke:#e69f00}}</style>";

impl Chart {
    /// The picture.
    pub(super) fn svg(&self) -> String {
        let mut body = String::new();
        let mut y = 24.0;
        text(&mut body, "t", 10.0, y, &self.title);
        for (heading, rows) in &self.groups {
            if !heading.is_empty() {
                y += HEIGHT + 6.0;
                text(&mut body, "q", 10.0, y, heading);
            }
            for row in rows {
                y += HEIGHT;
                text(&mut body, "", 24.0, y, &row.name);
                self.mark(&mut body, &row.mark, y - 4.5);
                text(&mut body, "", RIGHT + 16.0, y, &row.value);
            }
        }
        let axis = self.axis(y + 8.0);
        let height = y + 34.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\">\n<title>{}</title>\n{STYLE}\n\
             <rect class=\"page\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n{axis}{body}</svg>\n",
            escaped(&self.title)
        )
    }

    fn x(&self, value: f64) -> f64 {
        let part = (value - self.ends.0) / (self.ends.1 - self.ends.0);
        self.left + part.clamp(0.0, 1.05) * (RIGHT - self.left)
    }

    fn mark(&self, out: &mut String, mark: &Mark, y: f64) {
        let _ = match mark {
            Mark::Bar { low, high } => {
                let mut bar = |class: &str, from: f64, to: f64| {
                    let (x, width) = (self.x(from), self.x(to) - self.x(from));
                    writeln!(
                        out,
                        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
                         height=\"11\"/>",
                        y - 5.5
                    )
                };
                bar("pale", *low, *high).and(bar("bar", self.ends.0, *low))
            }
            Mark::Step { from, to } => {
                let (from, to) = (self.x(*from), self.x(*to));
                writeln!(
                    out,
                    "<line class=\"step\" x1=\"{from:.1}\" y1=\"{y}\" x2=\"{to:.1}\" y2=\"{y}\"/>\
                     <circle class=\"ring\" cx=\"{from:.1}\" cy=\"{y}\" r=\"4.5\"/>\
                     <circle class=\"dot\" cx=\"{to:.1}\" cy=\"{y}\" r=\"5\"/>"
                )
            }
        };
    }

    /// Four ticks with their lines from the top to `bottom`.
    fn axis(&self, bottom: f64) -> String {
        let mut out = String::new();
        let (left, right) = self.ends;
        for i in 0..=4 {
            let value = left + (right - left) * f64::from(i) / 4.0;
            let x = self.x(value);
            let width = if self.line == Some(value) { 2.5 } else { 1.0 };
            let _ = writeln!(
                out,
                "<line x1=\"{x:.1}\" y1=\"34\" x2=\"{x:.1}\" y2=\"{bottom}\" \
                 stroke-width=\"{width}\"/><text class=\"q\" x=\"{x:.1}\" y=\"{}\" \
                 text-anchor=\"middle\">{value}</text>",
                bottom + 16.0
            );
        }
        out
    }
}

fn text(out: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let _ = writeln!(out, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(text));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_ends_where_its_value_is() {
        let row = |low, high| Row {
            name: "a < b".into(),
            mark: Mark::Bar { low, high },
            value: "v".into(),
        };
        let groups = vec![("where".into(), vec![row(0.5, 0.5), row(0.25, 0.75)])];
        let (ends, line) = ((0.0, 1.0), Some(1.0));
        let chart = Chart { title: "t".into(), groups, left: 360.0, ends, line };
        let svg = chart.svg();
        assert!(svg.contains("a &lt; b") && svg.contains("width=\"150.0\""), "half of 300");
        assert!(svg.contains("class=\"pale\" x=\"435.0\""), "a quarter from the left");
    }
}
