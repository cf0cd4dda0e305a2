//! The audit for gradient masking.

use kd_core::record::{AuditRecord, AuditVerdict, CheckRecord};

use crate::document::{Block, Cell, Column, Row, Section, Table};
use crate::ordered::grouped;

use super::{Adversarial, AttackedModel, CensusSummary};

const TEXT: &str = "A robust accuracy is worth what the attacks behind it are worth. Each check asks \
    for something that holds when an attack follows useful gradients; one that fails shows that they \
    are hidden, not that there is nothing to find (Athalye et al. 2018; Carlini et al. 2019).";

/// Share of images without a gradient that the audit itself puts up with.
const VANISHED: f64 = 0.01;

/// `audit`, without a verdict that its images or the model's gradients do not bear out.
pub(super) fn judged(audit: &AuditRecord, census: Option<&CensusSummary>) -> AuditRecord {
    let (verdict, words) = match (audit.n_images, audit.verdict, census) {
        (Some(n), _, _) if n < AuditRecord::FEWEST_IMAGES => (
            AuditVerdict::TooFewImages,
            format!(
                "Too few images: the model classifies {n} of those that were audited correctly, \
                 and fewer than {} decide nothing.",
                AuditRecord::FEWEST_IMAGES
            ),
        ),
        (_, AuditVerdict::Sound, Some(census)) if census.zero_gradients.mean() > VANISHED => (
            AuditVerdict::Masked,
            format!(
                "Masked: no check fails, but the gradient of the cross entropy is exactly 0 on {} \
                 of the clean images, where attacks along it stand still.",
                census.zero_gradients.words()
            ),
        ),
        _ => return audit.clone(),
    };
    AuditRecord { verdict, words, ..audit.clone() }
}

/// Verdicts and checks of every audited model.
pub(super) fn section(all: &Adversarial) -> Option<Section> {
    let audited: Vec<_> = all.models.iter().filter(|model| !model.audits.is_empty()).collect();
    if audited.is_empty() {
        return None;
    }
    let blocks = vec![
        Block::Text(TEXT.into()),
        Block::Table(verdicts(&audited)),
        Block::Table(checks(&audited)),
    ];
    Section::of("Audit for gradient masking", blocks)
}

fn verdicts(models: &[&AttackedModel]) -> Table {
    let rows = models.iter().flat_map(|model| model.audits.iter().map(|a| verdict(model, a)));
    Table {
        caption:
            "Masked: a check fails, or gradients vanish, so that what plain attacks report is \
                  not to be believed. Too few images: fewer than 30. Sound: no check \
                  fails, and at least half of the images withstand every attack. Not robust: no \
                  check fails, and fewer do."
                .into(),
        columns: Column::plain(&["model", "verdict", "in words"]),
        rows: rows.collect(),
    }
}

fn verdict(model: &AttackedModel, audit: &AuditRecord) -> Row {
    let seed = match model.audits.len() {
        1 => String::new(),
        _ => format!(", seed {}", audit.seed),
    };
    Row::Cells(vec![
        Cell::Code(format!("{}{seed}", model.name)),
        Cell::Text(words(audit.verdict).into()),
        Cell::Words(audit.words.clone()),
    ])
}

/// The verdict's name.
fn words(verdict: AuditVerdict) -> &'static str {
    match verdict {
        AuditVerdict::TooFewImages => "too few images",
        AuditVerdict::Sound => "sound",
        AuditVerdict::Masked => "masked",
        AuditVerdict::NotRobust => "not robust",
    }
}

fn checks(models: &[&AttackedModel]) -> Table {
    let mut rows = Vec::new();
    for model in models {
        rows.push(Row::Heading(model.heading()));
        let all = model.audits.iter().flat_map(|audit| &audit.checks);
        rows.extend(grouped(all, |check| check.name.clone()).iter().map(|group| check(group)));
    }
    Table {
        caption: "The figures are those of the first seed, or of the first that fails.".into(),
        columns: Column::plain(&["check", "result", "figures"]),
        rows,
    }
}

/// One check over seeds.
fn check(seeds: &[&CheckRecord]) -> Row {
    let passed = seeds.iter().filter(|check| check.passed).count();
    let told = seeds.iter().find(|check| !check.passed).unwrap_or(&seeds[0]);
    Row::Cells(vec![
        Cell::Code(told.name.clone()),
        Cell::Check { passed, of: seeds.len() },
        Cell::Words(told.figures.clone()),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_verdict_needs_images_and_gradients() {
        let [teacher, _, student, _] = &fixture::summary().models[..] else { panic!("four") };
        let verdict = |n_images, verdict, model: &AttackedModel| {
            let audit = AuditRecord { n_images, verdict, ..model.audits[0].clone() };
            judged(&audit, model.census.as_ref()).verdict
        };
        let sound = AuditVerdict::Sound;
        assert_eq!(verdict(Some(29), sound, teacher), AuditVerdict::TooFewImages);
        assert_eq!(verdict(Some(30), sound, teacher), sound);
        assert_eq!(verdict(None, sound, teacher), sound, "an older record");
        assert_eq!(verdict(Some(990), sound, student), AuditVerdict::Masked);
        let not_robust = AuditVerdict::NotRobust;
        assert_eq!(verdict(Some(990), not_robust, student), not_robust);
    }

    #[test]
    fn a_check_passes_when_every_seed_passes() {
        let seed = |passed, figures: &str| CheckRecord {
            name: "a".into(),
            passed,
            figures: figures.into(),
        };
        let cells = |seeds: &[CheckRecord]| match check(&seeds.iter().collect::<Vec<_>>()) {
            Row::Cells(cells) => (cells[1].clone(), cells[2].clone()),
            Row::Heading(_) => unreachable!(),
        };
        let both = cells(&[seed(true, "x"), seed(true, "y")]);
        assert_eq!(both, (Cell::Check { passed: 2, of: 2 }, Cell::Words("x".into())));
        let one = cells(&[seed(true, "x"), seed(false, "y")]);
        assert_eq!(one, (Cell::Check { passed: 1, of: 2 }, Cell::Words("y".into())));
    }
}
