//! Accuracy under attack: attacks and models in one heat map, and all figures of each in a table.

use std::collections::BTreeSet;

use kd_core::Norm;
use kd_core::record::AttackSettings;

use crate::document::{Block, Cell, Column, Grid, Row, Section, Shaded, Table};
use crate::format::{self, duration, number_cell, percent, percent_cell, thousands};
use crate::ordered::grouped;
use crate::stats::Stat;

use super::summary::{norm, radius};
use super::{Adversarial, AttackSummary, AttackedModel, Share};

const TEXT: &str = "Robust accuracy is the fraction of all images that a model classifies correctly \
    both before and after the attack, in percent; success is the fraction that is wrong after it, of \
    those that were right before. `worst-case` joins all attacks of one norm and radius: an image \
    counts as robust when none of them succeeds on it. Radii are in units of [0, 1] pixels. An \
    attack without a radius looks for the nearest adversarial image; how far it had to go says more \
    than how often it arrived.";

/// The heat map, the table and the attacks' settings.
pub(super) fn section(all: &Adversarial) -> Option<Section> {
    all.attacks().next()?;
    let blocks = vec![
        Block::Text(TEXT.into()),
        Block::Grids(vec![grid(all)]),
        Block::Table(figures(all)),
        Block::Table(settings(all)),
    ];
    Section::of("Robust accuracy", blocks)
}

/// Attacks by models.
fn grid(all: &Adversarial) -> Grid {
    let models: Vec<_> = all.models.iter().filter(|model| !model.attacks.is_empty()).collect();
    let mut titles = grouped(all.attacks().map(|(_, attack)| attack), |attack| attack.title());
    titles.sort_by_key(|group| group[0].is_worst_case());
    let cell = |title: &str, model: &AttackedModel| {
        let attack = model.attacks.iter().find(|a| a.main && a.title() == title)?;
        let mean = attack.robust_accuracy.mean();
        Some(Shaded::plain(percent(mean), mean))
    };
    let titles: Vec<_> = titles.iter().map(|group| group[0].title()).collect();
    let row = |title: &String| models.iter().map(|model| cell(title, model)).collect();
    Grid {
        title: "robust accuracy, percent".into(),
        cells: titles.iter().map(row).collect(),
        rows: titles,
        columns: models.iter().map(|model| model.name.clone()).collect(),
    }
}

fn figures(all: &Adversarial) -> Table {
    let mut columns = Column::plain(&["attack", "images", "clean"]);
    columns.extend(Column::grouped("robust accuracy", &["ours", "95 % interval", "8-bit pixels"]));
    columns.extend(Column::plain(&["success"]));
    columns.extend(Column::grouped("distance", &["mean", "median"]));
    columns.extend(Column::plain(&["time"]));
    let mut rows = Vec::new();
    for model in all.models.iter().filter(|model| !model.attacks.is_empty()) {
        rows.push(Row::Heading(model.heading()));
        rows.extend(model.attacks.iter().filter(|attack| attack.main).map(row));
    }
    let caption = "Fractions in percent, as mean ± sample standard deviation over seeds. The 95 % \
                   interval is Wilson's on the images of one seed or, where that is wider, two \
                   standard errors over seeds. 8-bit pixels: the same images after rounding to \
                   multiples of 1/255. Distances are those of the successful images, in the \
                   attack's norm.";
    Table { caption: caption.into(), columns, rows }
}

fn row(attack: &AttackSummary) -> Row {
    let share = |share: &Share| percent_cell(&share.over_seeds);
    let distance = |stat: &Option<Stat>| {
        let decimals = if attack.norm == Norm::L0 { 1 } else { 3 };
        stat.as_ref().map_or(Cell::Empty, |stat| number_cell(stat, 1.0, decimals))
    };
    Row::Cells(vec![
        Cell::Code(attack.title()),
        Cell::number(thousands(attack.n_images)),
        share(&attack.clean_accuracy),
        share(&attack.robust_accuracy),
        attack.robust_accuracy.interval_cell(),
        share(&attack.robust_accuracy_rounded),
        attack.success.as_ref().map_or(Cell::Empty, share),
        distance(&attack.mean_distance),
        distance(&attack.median_distance),
        Cell::number(duration(attack.seconds.mean)),
    ])
}

/// Each attack once; again where its settings differ between models.
fn settings(all: &Adversarial) -> Table {
    let listed: Vec<_> = all.attacks().filter(|(_, attack)| !attack.is_worst_case()).collect();
    let key = |(_, attack): &(&AttackedModel, &AttackSummary)| {
        (attack.attack.clone(), attack.settings.as_ref().map(describe))
    };
    let names: BTreeSet<_> = listed.iter().map(key).collect();
    let row = |group: Vec<(&AttackedModel, &AttackSummary)>| {
        let attack = group[0].1;
        let differs = names.iter().filter(|(name, _)| *name == attack.attack).count() > 1;
        let models: Vec<_> = group.iter().map(|(model, _)| model.name.clone()).collect();
        Row::Cells(vec![
            Cell::Code(attack.attack.clone()),
            Cell::Text(attack.settings.as_ref().map_or("", |s| s.kind.name()).into()),
            Cell::Text(norm(attack.norm).into()),
            Cell::Text(attack.eps.map_or("nearest".into(), radius)),
            Cell::Words(attack.settings.as_ref().map(describe).unwrap_or_default()),
            if differs { Cell::Words(models.join(", ")) } else { Cell::Text("all".into()) },
        ])
    };
    let by_name = grouped(listed.iter().copied(), |(_, attack)| attack.attack.clone());
    Table {
        caption: "The attacks' settings; what is not named is at its default.".into(),
        columns: Column::plain(&["attack", "kind", "norm", "radius", "settings", "models"]),
        rows: by_name.iter().flat_map(|same| grouped(same.iter().copied(), key)).map(row).collect(),
    }
}

/// `objective margin (T 10), n steps 40`, without what has a column of its own.
fn describe(settings: &AttackSettings) -> String {
    let objective = settings.objective.as_ref().map(|objective| match objective.temperature {
        t if t.total_cmp(&1.0).is_eq() => format!("objective {}", objective.kind.name()),
        t => format!("objective {} (T {t})", objective.kind.name()),
    });
    let kappa = settings.kappa.map(|kappa| format!("kappa {kappa}"));
    let others = format::settings(&settings.others);
    let all = [objective, kappa, Some(others).filter(|others| !others.is_empty())];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

impl AttackedModel {
    /// Its name and how it was trained.
    pub(super) fn heading(&self) -> String {
        let temperature = format!("T = {}", self.temperature);
        let how = match (self.distilled, &self.perturb) {
            (_, Some(attack)) => {
                format!("trained on images of {}, {temperature}", attack.kind.name())
            }
            (true, None) => format!("distilled, {temperature}"),
            (false, None) => format!("on labels, {temperature}"),
        };
        format!("{}: {how}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture;
    use super::*;

    #[test]
    fn settings_in_words() {
        let objective = json!({"kind": "margin", "temperature": 100.0});
        let pgd = fixture::settings(json!({"kind": "pgd", "eps": 0.1, "n_steps": 40,
            "step_size": 0.01_f32, "objective": objective, "x": true}));
        let expected = "objective margin (T 100), n steps 40, step size 0.01, x yes";
        assert_eq!(describe(&pgd), expected);
        assert_eq!(describe(&fixture::settings(json!({"kind": "fgsm"}))), "");
    }

    #[test]
    fn the_grid_has_every_attack_once_and_the_worst_case_last() {
        let grid = grid(&fixture::summary());
        assert_eq!(grid.columns, ["teacher", "student-t1", "student-t100", "pgd7"]);
        assert_eq!(grid.rows[0], "fgsm, L\u{221e} 0.1");
        assert_eq!(grid.rows.last().unwrap(), "worst-case, L\u{221e} 0.1");
        assert_eq!(grid.rows.iter().filter(|row| row.starts_with("pgd,")).count(), 1);
        let worst = grid.cells.last().unwrap();
        assert_eq!(worst[2].as_ref().unwrap().text, "0.20", "2 of 1000");
    }

    #[test]
    fn the_table_names_each_model_and_the_settings_each_attack() {
        let table = figures(&fixture::summary());
        let headings = table.rows.iter().filter(|row| matches!(row, Row::Heading(_))).count();
        assert_eq!(headings, 4);
        let listed = settings(&fixture::summary()).rows;
        let models = |row: &Row| match row {
            Row::Cells(cells) => (cells[0].clone(), cells[5].clone()),
            Row::Heading(_) => unreachable!(),
        };
        let divided: Vec<_> = listed
            .iter()
            .map(models)
            .filter(|(name, _)| *name == Cell::Code("pgd-t".into()))
            .collect();
        assert_eq!(divided.len(), 2, "divided by each model's own temperature");
        assert_eq!(divided[1].1, Cell::Words("student-t100".into()));
    }
}
