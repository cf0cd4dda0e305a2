//! Logits and pixel gradients against the temperature.

use kd_core::Result;

use crate::chart::{Lines, Series, XAxis, hue};
use crate::document::{Block, Cell, Column, Figure, Legend, Plot, Row, Section, Table};
use crate::format::{number_cell, percent_cell};
use crate::ordered::grouped;

use super::{Adversarial, AttackedModel, CensusSummary};

const TEXT: &str = "A model that learns at temperature T is trained with its logits divided by T, and \
    used without that division (Carlini and Wagner 2016): its logits may be as much larger. Where the \
    softmax of large logits is 0 or 1 to the last bit of f32, the gradient of the cross entropy is \
    exactly 0, and an attack that follows it stands still. Counted on clean images, in f32.";

/// Charts against the temperature, and the table.
///
/// # Errors
/// When a chart cannot be drawn.
pub(super) fn section(all: &Adversarial) -> Result<Option<Section>> {
    let models: Vec<Counted<'_>> =
        all.models.iter().filter_map(|model| Some((model, model.census.as_ref()?))).collect();
    if models.is_empty() {
        return Ok(None);
    }
    let mut blocks = vec![Block::Text(TEXT.into())];
    blocks.extend(figure(&models)?.map(Block::Figure));
    blocks.push(Block::Table(table(&models)));
    Ok(Section::of("Logits and gradients", blocks))
}

type Counted<'a> = (&'a AttackedModel, &'a CensusSummary);

fn table(models: &[Counted<'_>]) -> Table {
    let row = |(model, census): &Counted<'_>| {
        Row::Cells(vec![
            Cell::Code(model.name.clone()),
            Cell::number(model.temperature.to_string()),
            number_cell(&census.logit_norm, 1.0, 1),
            number_cell(&census.logit_gap, 1.0, 1),
            number_cell(&census.gradient_norm, 1.0, 4),
            percent_cell(&census.zero_gradients.over_seeds),
            percent_cell(&census.zero_fraction),
            percent_cell(&census.non_finite_gradients.over_seeds),
        ])
    };
    let mut columns = Column::plain(&["model", "T"]);
    columns.extend(Column::grouped("logits", &["norm", "gap"]));
    let names = ["norm", "all zero", "values zero", "not finite"];
    columns.extend(Column::grouped("gradient of the cross entropy", &names));
    let caption = "Means over images: L2 norm of the logits, difference of the two largest, and L2 \
                   norm of the gradient with respect to the pixels. In percent: images whose \
                   gradient is exactly 0 in every pixel, values of all gradients that are exactly \
                   0, and images with a value that is not finite.";
    Table { caption: caption.into(), columns, rows: models.iter().map(row).collect() }
}

/// Logit norm and zero gradients, a line for each training; none where all temperatures are equal.
fn figure(models: &[Counted<'_>]) -> Result<Option<Figure>> {
    let drawn: Vec<_> = models.iter().copied().filter(|(model, _)| has_place(model)).collect();
    let place = |(model, _): &Counted<'_>| model.temperature.log10();
    let (low, high) =
        drawn.iter().map(place).fold((f64::MAX, f64::MIN), |(l, h), t| (l.min(t), h.max(t)));
    if high <= low {
        return Ok(None);
    }
    let lines = grouped(drawn, |(model, _)| model.id.training.clone());
    let ends = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let norms = plot(&lines, ends, |census| census.logit_norm.mean);
    let zeros = plot(&lines, ends, |census| 100.0 * census.zero_gradients.mean());
    let label = |group: &Vec<Counted<'_>>| match group.len() {
        1 => group[0].0.name.clone(),
        _ => group[0].0.id.training.clone(),
    };
    let legend = lines.iter().enumerate();
    let legend = legend.map(|(i, group)| Legend { label: label(group), hue: hue(i) });
    let caption = "Against the temperature of the training (logarithmic), means over seeds.";
    let plots = vec![
        Plot::new("mean L2 norm of the logits", norms),
        Plot::new("zero gradients, percent of images", zeros),
    ];
    Figure::of(caption.into(), legend.collect(), plots).map(Some)
}

/// Temperatures that a chart can show.
fn has_place(model: &AttackedModel) -> bool {
    (1e-6..=1e6).contains(&model.temperature)
}

fn plot(lines: &[Vec<Counted<'_>>], ends: (f64, f64), value: fn(&CensusSummary) -> f64) -> Lines {
    let point = |(model, census): &Counted<'_>| {
        (model.temperature.log10(), value(census).clamp(0.0, 1e12), 0.0)
    };
    let points = |group: &Vec<Counted<'_>>| {
        let mut points: Vec<_> = group.iter().map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let series: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(i, group)| Series { hue: hue(i), points: points(group) })
        .collect();
    let highest = series.iter().flat_map(|s| &s.points).map(|p| p.1).fold(1.0, f64::max);
    let x = XAxis { name: "temperature", ends, label: decade };
    Lines { x, y: (0.0, 1.06 * highest), series, mark: 8 }
}

/// `100` for 2; nothing between the decades.
fn decade(x: f64) -> String {
    match (x - x.round()).abs() < 1e-6 {
        true => format!("{}", 10_f64.powi(x.round() as i32)),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn decades_are_labelled() {
        assert_eq!([0.0, 2.0, 0.5, -1.0].map(decade), ["1", "100", "", "0.1"]);
    }

    #[test]
    fn one_temperature_is_no_chart() {
        let all = fixture::summary();
        let models: Vec<_> =
            all.models.iter().filter_map(|m| Some((m, m.census.as_ref()?))).collect();
        let shown = figure(&models).unwrap().unwrap();
        assert_eq!(shown.panels.len(), 2);
        let labels: Vec<_> = shown.legend.iter().map(|entry| entry.label.as_str()).collect();
        assert_eq!(labels, ["teacher", "uiuc", "pgd7"]);
        assert!(figure(&models[..1]).unwrap().is_none());
        assert_eq!(table(&models).rows.len(), 4);
    }
}
