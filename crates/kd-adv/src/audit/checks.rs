//! The checks, each with the figures that decided it.

use kd_core::Result;
use kd_core::record::{CensusRecord, CheckRecord};

use super::lab::{Lab, Rows};
use crate::runner::refuse_probabilities;

/// What chance may do: fractions of the images beyond which a check fails. One image never decides.
///
/// A hidden gradient costs tens of points; an honest one leaves a few points between attacks of
/// this length, since none of them finds the worst point of every ball.
const ONE_POINT: f64 = 0.01;
const FIVE_POINTS: f64 = 0.05;
/// The margin from which AutoAttack calls it suspicious that Square finds more than the others.
const FIFTH_OF_A_POINT: f64 = 0.002;

fn few(count: usize, total: usize, tolerance: f64) -> bool {
    count as f64 <= (tolerance * total as f64).max(1.0)
}

fn check(name: &str, passed: bool, figures: String) -> CheckRecord {
    CheckRecord { name: name.into(), passed, figures }
}

/// `count / total` in percent.
pub(super) fn percent(count: usize, total: usize) -> String {
    format!("{:.1} %", 100.0 * count as f64 / total.max(1) as f64)
}

/// Gradients through a softmax vanish where it is confident.
pub(super) fn outputs_are_logits(lab: &Lab<'_>) -> Result<CheckRecord> {
    let logits = lab.victim.logits(&lab.examples.pixels)?;
    let refused = refuse_probabilities(&logits, lab.victim.n_classes());
    let figures = match &refused {
        Ok(()) => "the outputs of an image do not add up to 1",
        Err(_) => "the outputs of every image lie in [0, 1] and add up to 1",
    };
    Ok(check("outputs-are-logits", refused.is_ok(), figures.into()))
}

/// A random forward pass has random gradients, which hide the mean one.
pub(super) fn is_deterministic(lab: &Lab<'_>) -> Result<CheckRecord> {
    let bits = || -> Result<Vec<u32>> {
        Ok(lab.victim.logits(&lab.examples.pixels)?.into_iter().map(f32::to_bits).collect())
    };
    let (one, two) = (bits()?, bits()?);
    let n_differ = one.iter().zip(&two).filter(|(a, b)| a != b).count();
    let figures = format!("{n_differ} of {} logits differ between two passes", one.len());
    Ok(check("forward-is-deterministic", n_differ == 0, figures))
}

pub(super) fn gradients_are_finite(census: &CensusRecord) -> CheckRecord {
    let n = census.non_finite_gradients;
    let figures = format!("{n} of {} gradients have a value that is not finite", census.total);
    check("gradients-are-finite", n == 0, figures)
}

/// Where every value is 0, no step along the gradient moves: the image counts as "defended".
pub(super) fn gradients_exist(census: &CensusRecord) -> CheckRecord {
    let passed = few(census.zero_gradients, census.total, ONE_POINT);
    let figures = format!(
        "the gradient of the cross entropy is exactly 0 on {} of the images; logits lie {:.1} apart",
        percent(census.zero_gradients, census.total),
        census.mean_logit_gap
    );
    check("gradients-are-not-zero", passed, figures)
}

pub(super) fn iterative_beats_one_step(lab: &Lab<'_>, plain: &Rows) -> Result<CheckRecord> {
    let n = lab.examples.len();
    let one_step = lab.fallen(&lab.one_step(), &lab.all())?;
    let n_more = one_step.len().saturating_sub(plain.len());
    let figures = format!(
        "FGSM breaks {}, PGD of {} steps {}",
        percent(one_step.len(), n),
        lab.audit.n_steps,
        percent(plain.len(), n),
    );
    Ok(check("iterative-beats-one-step", few(n_more, n, ONE_POINT), figures))
}

/// Two checks: success grows with the radius, and at a radius of 1, where every image is within
/// reach, nothing stands.
pub(super) fn radii(lab: &Lab<'_>, plain: &Rows) -> Result<[CheckRecord; 2]> {
    let (n, all) = (lab.examples.len(), lab.all());
    let mut successes = vec![];
    for factor in [0.5, 2.0, f32::INFINITY] {
        let spec = lab.plain_at(factor);
        successes.push((spec.as_dyn().eps().unwrap_or_default(), lab.fallen(&spec, &all)?.len()));
    }
    successes.insert(1, (lab.audit.eps, plain.len()));
    let grows = successes.windows(2).all(|pair| {
        let lost = pair[0].1.saturating_sub(pair[1].1);
        few(lost, n, ONE_POINT)
    });
    let words = successes.iter().map(|(eps, count)| format!("{} at {eps}", percent(*count, n)));
    let words = format!("PGD breaks {}", words.collect::<Vec<_>>().join(", "));
    let n_left = n - successes[3].1;
    let left = format!("{n_left} of {n} images stand at radius 1, where any image is allowed");
    Ok([
        check("success-grows-with-eps", grows, words),
        check("unbounded-eps-reaches-100-percent", few(n_left, n, ONE_POINT), left),
    ])
}

pub(super) fn more_steps_change_nothing(lab: &Lab<'_>, fallen: &Rows) -> CheckRecord {
    let n = lab.examples.len();
    let figures = format!(
        "PGD of {} steps from 2 starts breaks {} of {n} images more",
        2 * lab.audit.n_steps,
        fallen.len()
    );
    check("more-steps-change-nothing", few(fallen.len(), n, FIVE_POINTS), figures)
}

pub(super) fn other_objectives_change_nothing(
    lab: &Lab<'_>,
    fallen: &[(String, Rows)],
) -> CheckRecord {
    let n = lab.examples.len();
    let figures =
        format!("of {n} images, so many fall that PGD does not break: {}", counts(fallen));
    let passed = fallen.iter().all(|(_, rows)| few(rows.len(), n, FIVE_POINTS));
    check("other-objectives-change-nothing", passed, figures)
}

pub(super) fn white_box_beats_transfer(lab: &Lab<'_>, fallen: &[(String, Rows)]) -> CheckRecord {
    let n = lab.examples.len();
    let figures = format!(
        "of {n} images, so many fall that PGD does not break, when made on: {}",
        counts(fallen)
    );
    let passed = fallen.iter().all(|(_, rows)| few(rows.len(), n, ONE_POINT));
    check("white-box-beats-transfer", passed, figures)
}

pub(super) fn white_box_beats_black_box(lab: &Lab<'_>, noise: &Rows, square: &Rows) -> CheckRecord {
    let n = lab.examples.len();
    let figures = format!(
        "random noise breaks {} and Square with {} queries {} of {n} images that PGD does not",
        noise.len(),
        lab.audit.n_queries,
        square.len()
    );
    let passed = few(noise.len(), n, ONE_POINT) && few(square.len(), n, FIVE_POINTS);
    check("white-box-beats-black-box", passed, figures)
}

pub(super) fn square_finds_nothing_new(lab: &Lab<'_>, new: &Rows) -> CheckRecord {
    let n = lab.examples.len();
    let figures =
        format!("Square breaks {} of {n} images that no attack along gradients breaks", new.len());
    check("square-finds-nothing-new", few(new.len(), n, FIFTH_OF_A_POINT), figures)
}

/// `the margin 3, DLR 5`.
fn counts(fallen: &[(String, Rows)]) -> String {
    let words = fallen.iter().map(|(name, rows)| format!("{name} {}", rows.len()));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_image_never_decides() {
        assert!(few(1, 10, 0.01) && !few(2, 10, 0.01));
        assert!(few(10, 1000, 0.01) && !few(11, 1000, 0.01));
        assert!(few(2, 1000, FIFTH_OF_A_POINT) && !few(3, 1000, FIFTH_OF_A_POINT));
    }
}
