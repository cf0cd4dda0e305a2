//! Charts as SVG: lines with bands, and grouped bars.
//!
//! They are drawn at twice their usual size, because plotters rounds coordinates to whole pixels,
//! and black becomes `currentColor`, so that they follow a dark page.

use kd_core::{Error, Result};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// A color of the palette of Okabe and Ito, which color-blind readers can tell apart; `None` is
/// the color of the text.
pub(crate) type Hue = Option<usize>;

/// Of several lines, the first has the color of the text, the others the palette's in order.
pub(crate) fn hue(i: usize) -> Hue {
    i.checked_sub(1)
}

const PALETTE: [(u8, u8, u8); 6] =
    [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233)];
const FONT: (&str, u32) = ("sans-serif", 29);

/// How large a chart is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Width and height of the drawing.
    drawing: (u32, u32),
    /// Least width on the page, in widths of a large letter (CSS `rem`).
    pub(crate) on_page: u32,
}

impl Size {
    /// Of `n` charts that fill rows of three, or of two where three would leave a row half empty.
    pub(crate) fn of(n: usize) -> Self {
        match n {
            1 | 2 | 4 | 5 | 8 => Self { drawing: (1080, 640), on_page: 30 },
            _ => Self { drawing: (760, 520), on_page: 19 },
        }
    }
}

/// Lines.
pub(crate) struct Lines {
    pub(crate) x: XAxis,
    /// Lower and upper end of the y axis; what lies below is cut off.
    pub(crate) y: (f64, f64),
    pub(crate) series: Vec<Series>,
    /// Radius of the marks at the points; 0 for none.
    pub(crate) mark: u32,
}

/// What a chart's lines run over.
pub(crate) struct XAxis {
    pub(crate) name: &'static str,
    /// Lower and upper end.
    pub(crate) ends: (f64, f64),
    /// A tick's text; empty for none.
    pub(crate) label: fn(f64) -> String,
}

impl XAxis {
    /// Epochs from 1 to `n`.
    pub(crate) fn epochs(n: u64) -> Self {
        let whole = |x: f64| match (x - x.round()).abs() < 1e-6 {
            true => format!("{x:.0}"),
            false => String::new(),
        };
        Self { name: "epoch", ends: (1.0, n.max(2) as f64), label: whole }
    }
}

/// One line.
pub(crate) struct Series {
    pub(crate) hue: Hue,
    /// Place on the x axis (such as the epoch), mean and standard deviation.
    pub(crate) points: Vec<(f64, f64, f64)>,
}

/// Bars in groups, one group for each class.
pub(crate) struct Bars {
    /// Upper end of the y axis; bars beyond it are cut off and carry their number.
    pub(crate) y_max: f64,
    /// Hue, and height in each class.
    pub(crate) series: Vec<(Hue, Vec<f64>)>,
}

/// The color in CSS.
pub(crate) fn css(hue: Hue) -> String {
    match hue {
        None => "currentColor".into(),
        Some(index) => {
            let (r, g, b) = PALETTE[index % PALETTE.len()];
            format!("#{r:02x}{g:02x}{b:02x}")
        }
    }
}

fn rgb(hue: Hue) -> RGBColor {
    hue.map_or(BLACK, |index| {
        let (r, g, b) = PALETTE[index % PALETTE.len()];
        RGBColor(r, g, b)
    })
}

/// Draws `lines` in this size.
///
/// # Errors
/// [`Error::Io`] when plotters refuses.
pub(crate) fn lines(lines: &Lines, size: Size) -> Result<String> {
    draw(size.drawing, |area| {
        let ((left, right), (low, high)) = (lines.x.ends, lines.y);
        let mut chart = ChartBuilder::on(area)
            .margin(14)
            .margin_right(24)
            .x_label_area_size(74)
            .y_label_area_size(100)
            .build_cartesian_2d(left..right, low..high)?;
        let (x_label, y_label) = (|x: &f64| (lines.x.label)(*x), |y: &f64| tick(*y, high - low));
        mesh(&mut chart, (lines.x.name, 7), (&x_label, &y_label))?;
        for series in &lines.series {
            let band = Polygon::new(band(series, lines.y), rgb(series.hue).mix(0.13));
            chart.draw_series(std::iter::once(band))?;
        }
        for series in &lines.series {
            let style = rgb(series.hue).stroke_width(4);
            chart.draw_series(LineSeries::new(above(series, low), style))?;
            let marks = series.points.iter().filter(|(_, y, _)| lines.mark > 0 && *y >= low);
            let mark =
                |(x, y, _): &(f64, f64, f64)| Circle::new((*x, *y), lines.mark, style.filled());
            chart.draw_series(marks.map(mark))?;
        }
        Ok(())
    })
}

/// With as many decimals as tell neighbors apart.
fn tick(y: f64, range: f64) -> String {
    let decimals = -(range / 6.0).log10().floor();
    match decimals {
        _ if y.abs() < 1e-9 * range => "0".into(),
        3.5.. => format!("{y:.1e}").replace(".0e", "e"),
        _ => format!("{y:.*}", decimals.max(0.0) as usize),
    }
}

/// Draws `bars`.
///
/// # Errors
/// [`Error::Io`] when plotters refuses.
pub(crate) fn bars(bars: &Bars) -> Result<String> {
    let n_classes = bars.series.iter().map(|(_, heights)| heights.len()).max().unwrap_or(0);
    draw((2000, 640), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(14)
            .margin_top(40)
            .x_label_area_size(74)
            .y_label_area_size(90)
            .build_cartesian_2d(-0.5..n_classes as f64 - 0.5, 0.0..bars.y_max)?;
        let whole = |x: &f64| format!("{x:.0}");
        mesh(&mut chart, ("class", n_classes), (&whole, &whole))?;
        let width = 0.8 / bars.series.len() as f64;
        for (i, (hue, heights)) in bars.series.iter().enumerate() {
            for (class, &height) in heights.iter().enumerate() {
                let left = class as f64 - 0.4 + width * i as f64;
                let corners = [(left, 0.0), (left + 0.92 * width, height.min(bars.y_max))];
                let bar = Rectangle::new(corners, rgb(*hue).filled());
                chart.draw_series(std::iter::once(bar))?;
                if height > bars.y_max {
                    let at = (left, bars.y_max);
                    let label =
                        EmptyElement::at(at) + Text::new(format!("{height:.0}"), (0, -34), FONT);
                    chart.draw_series(std::iter::once(label))?;
                }
            }
        }
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

type Plane<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Label<'a> = &'a dyn Fn(&f64) -> String;
type Drawn<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Axes with `n` labels along x and lines across.
fn mesh(
    chart: &mut Plane<'_, '_>,
    (name, n): (&str, usize),
    (x_label, y_label): (Label<'_>, Label<'_>),
) -> Drawn<()> {
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.14))
        .axis_style(BLACK.mix(0.5))
        .label_style(FONT)
        .axis_desc_style(FONT)
        .x_labels(n)
        .y_labels(6)
        .x_desc(name)
        .x_label_formatter(x_label)
        .y_label_formatter(y_label)
        .draw()?;
    Ok(())
}

fn draw(size: (u32, u32), content: impl Fn(&Area<'_>) -> Drawn<()>) -> Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn = content(&area).and_then(|()| Ok(area.present()?));
    drop(area);
    drawn.map_err(|e| Error::Io {
        path: "report.html".into(),
        action: "draw a chart for",
        source: std::io::Error::other(e.to_string()),
    })?;
    Ok(svg.replace("#000000", "currentColor"))
}

/// The outline of mean +- standard deviation, inside the axis.
fn band(series: &Series, (low, high): (f64, f64)) -> Vec<(f64, f64)> {
    let edge = |sign: f64| {
        series.points.iter().map(move |(x, y, std)| (*x, (y + sign * std).clamp(low, high)))
    };
    edge(1.0).chain(edge(-1.0).rev()).collect()
}

/// The line's part above `low`, with the points where it crosses.
fn above(series: &Series, low: f64) -> Vec<(f64, f64)> {
    let mut visible = Vec::new();
    let mut before: Option<(f64, f64)> = None;
    for &(x, y, _) in &series.points {
        if let Some((x0, y0)) = before.filter(|(_, y0)| (*y0 < low) != (y < low)) {
            visible.push((x0 + (x - x0) * (low - y0) / (y - y0), low));
        }
        if y >= low {
            visible.push((x, y));
        }
        before = Some((x, y));
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_it_crosses_the_axis() {
        let points = vec![(1.0, 0.0, 0.0), (2.0, 2.0, 0.0), (3.0, 3.0, 0.0)];
        let series = Series { hue: None, points };
        assert_eq!(above(&series, 1.0), [(1.5, 1.0), (2.0, 2.0), (3.0, 3.0)]);
        assert_eq!(band(&series, (1.0, 2.5)).len(), 6);
    }

    #[test]
    fn ticks_are_told_apart() {
        assert_eq!([tick(97.5, 3.0), tick(40.0, 60.0), tick(0.0, 1.0)], ["97.5", "40", "0"]);
        assert_eq!([tick(8e-4, 1e-3), tick(2.5e-4, 1e-3)], ["8e-4", "2.5e-4"]);
    }

    #[test]
    fn no_epoch_is_named_twice() {
        let label = XAxis::epochs(4).label;
        assert_eq!([1.0, 1.5, 2.0, 2.4].map(label), ["1", "", "2", ""]);
    }

    #[test]
    fn charts_are_drawn_without_fonts_and_follow_the_page() {
        let points = vec![(1.0, 97.0, 0.1), (2.0, 98.0, 0.1)];
        let series = vec![Series { hue: Some(0), points }];
        let (x, y) = (XAxis::epochs(2), (96.0, 98.5));
        let svg = lines(&Lines { x, y, series, mark: 0 }, Size::of(3)).unwrap();
        assert!(svg.contains("viewBox=\"0 0 760 520\""));
        assert!(
            svg.starts_with("<svg ") && svg.contains("currentColor") && svg.contains("#0072B2")
        );
        let svg = bars(&Bars { y_max: 5.0, series: vec![(None, vec![1.0, 9.0])] }).unwrap();
        assert!(svg.contains('9'), "a cut bar carries its number");
    }
}
