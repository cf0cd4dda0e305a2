//! Heat maps of alpha and temperature: the paper's, ours, and differences.

use crate::comparison::{Paper, Selection};
use crate::document::{Block, Grid, Section, Shaded};
use crate::format::{percent, percent_words, signed};
use crate::models::trainings;
use crate::report::{ModelSummary, Report};
use crate::stats::{Difference, Stat};

/// Heat maps of every training that has a grid of alpha and temperature.
pub(crate) fn section(report: &Report) -> Option<Section> {
    let blocks: Vec<_> =
        trainings(report).iter().flat_map(|models| training_grids(report, models)).collect();
    Section::of("The grid of alpha and temperature", blocks)
}

fn training_grids(report: &Report, models: &[&ModelSummary]) -> Vec<Block> {
    let axes = Axes::of(models);
    if models.iter().filter(|model| model.cell().is_some()).count() < 2 {
        return Vec::new();
    }
    let in_paper = |m: &&&ModelSummary| m.cell().and_then(|_| paper_value(report, m)).is_some();
    let known: Vec<_> = models.iter().filter(in_paper).copied().collect();
    let theirs = known.iter().filter_map(|m| paper_value(report, m));
    let ours = models.iter().filter(|m| m.cell().is_some());
    let range = range(theirs.chain(ours.flat_map(|m| [m.best.mean, m.last.mean])));
    let shaded = |stat: &Stat| Some(shaded(stat, range));
    let mut grids = Vec::new();
    if known.len() > 1 {
        let paper = |m: &ModelSummary| shaded(&Stat::of(vec![paper_value(report, m)?])?);
        grids.push(Axes::of(&known).grid("paper", &known, paper));
    }
    grids.push(axes.grid("ours, best epoch", models, |m| shaded(&m.best)));
    grids.push(axes.grid("ours, last epoch", models, |m| shaded(&m.last)));
    if known.len() > 1 && report.official_data {
        grids.push(against_the_paper(report, &known));
    }
    grids.extend(gains(&axes, models));
    vec![Block::Text(text(report, models)), Block::Grids(grids)]
}

/// The settings that a grid of models covers, in order.
pub(crate) struct Axes {
    pub(crate) alphas: Vec<f64>,
    pub(crate) ts: Vec<f64>,
}

impl Axes {
    pub(crate) fn of(models: &[&ModelSummary]) -> Self {
        let sorted = |pick: fn((f64, f64)) -> f64| {
            let mut values: Vec<f64> = models.iter().filter_map(|m| m.cell()).map(pick).collect();
            values.sort_by(f64::total_cmp);
            values.dedup_by(|a, b| a.total_cmp(b).is_eq());
            values
        };
        Self { alphas: sorted(|(alpha, _)| alpha), ts: sorted(|(_, t)| t) }
    }

    fn grid(
        &self,
        title: &'static str,
        models: &[&ModelSummary],
        cell: impl Fn(&ModelSummary) -> Option<Shaded>,
    ) -> Grid {
        let at = |a: f64, t: f64| models.iter().find(|m| m.cell() == Some((a, t)));
        let row = |a: &f64| self.ts.iter().map(|t| at(*a, *t).and_then(|m| cell(m))).collect();
        Grid {
            title: title.into(),
            rows: self.alphas.iter().map(|alpha| format!("α {alpha}")).collect(),
            columns: self.ts.iter().map(|t| format!("T {t}")).collect(),
            cells: self.alphas.iter().map(row).collect(),
        }
    }
}

fn paper_value(report: &Report, model: &ModelSummary) -> Option<f64> {
    let of_model =
        report.claims.iter().filter(|c| (&c.model, c.selection) == (&model.id, Selection::Best));
    of_model.filter_map(|c| if let Paper::Value(v) = c.paper { Some(v) } else { None }).next()
}

fn text(report: &Report, models: &[&ModelSummary]) -> String {
    let training = &models[0].id.training;
    let start =
        format!("`{training}`: test accuracy, percent, ± one standard deviation over seeds");
    let Some(baseline) = models.iter().find(|model| model.is_baseline()) else {
        return start + ".";
    };
    let paper = paper_value(report, baseline).map(percent);
    let paper = paper.map_or(String::new(), |paper| format!(", the paper's {paper}"));
    format!(
        "{start}. The baseline, without a teacher: best epoch {}, last epoch {}{paper}. The number \
         below a difference is its noise, two standard errors.",
        percent_words(&baseline.best),
        percent_words(&baseline.last)
    )
}

pub(crate) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)))
}

fn shaded(stat: &Stat, (low, high): (f64, f64)) -> Shaded {
    let spread = stat.std.map_or(String::new(), |std| format!("± {}", percent(std)));
    let shade = (stat.mean - low) / (high - low).max(f64::MIN_POSITIVE);
    Shaded { text: percent(stat.mean), spread, shade }
}

fn against_the_paper(report: &Report, known: &[&ModelSummary]) -> Grid {
    let difference =
        |m: &ModelSummary| Some((m.best.mean - paper_value(report, m)?, String::new()));
    differences("ours, best epoch \u{2212} paper, points", &Axes::of(known), known, difference)
}

/// What the teacher adds.
fn gains(axes: &Axes, models: &[&ModelSummary]) -> Option<Grid> {
    models.iter().find(|m| m.cell().is_some() && m.gain.is_some())?;
    let gain = |m: &ModelSummary| {
        m.gain.map(|Difference { value, noise }| (value, format!("± {}", percent(noise))))
    };
    Some(differences("last epoch \u{2212} baseline, points", axes, models, gain))
}

fn differences(
    title: &'static str,
    axes: &Axes,
    models: &[&ModelSummary],
    of: impl Fn(&ModelSummary) -> Option<(f64, String)>,
) -> Grid {
    let all = models.iter().filter(|m| m.cell().is_some()).filter_map(|m| of(m));
    let largest = all.fold(1e-9_f64, |most, (value, _)| most.max(value.abs()));
    axes.grid(title, models, |m| {
        let (value, spread) = of(m)?;
        Some(Shaded { text: signed(100.0 * value, 2), spread, shade: value / largest })
    })
}
