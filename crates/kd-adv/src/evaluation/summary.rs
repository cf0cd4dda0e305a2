//! From outcomes to the counts of a record.

use kd_core::record::{AttackRecord, AttackSettings};
use kd_core::{Error, Result};

use super::Outcome;
use crate::{Attack, AttackSpec, Norm};

/// By how much rounding may take an image out of its ball.
const TOLERANCE: f64 = 1e-6;

/// Counts and distances of one attack. Seed, names, transfer and time are left for the caller.
///
/// From the counts, which go with an interval each ([`kd_core::wilson`]): clean accuracy is
/// `correct / total`, robust accuracy `robust / total`, and the attack's success among correctly
/// classified images `(correct - robust) / correct`.
pub fn summarize(spec: &AttackSpec, outcomes: &[Outcome]) -> AttackRecord {
    AttackRecord {
        attack: spec.name().into(),
        settings: AttackSettings::of(spec).ok(),
        ..count(spec.as_dyn(), outcomes)
    }
}

/// The same of any attack; its name and settings are left for the caller as well.
pub fn count(attack: &dyn Attack, outcomes: &[Outcome]) -> AttackRecord {
    counts(attack.norm(), attack.eps(), outcomes)
}

/// For every norm and radius that some attack has, an image counts as robust when none of the
/// attacks of that norm succeeds within that radius; those that look for the nearest image count
/// where they found one inside.
///
/// One record each, called `worst-case`, in the order in which the radii appear; none where there
/// is only one attack to join. `attacks` have the same images in the same order.
pub fn worst_cases(attacks: &[(&dyn Attack, &[Outcome])]) -> Vec<AttackRecord> {
    let mut balls: Vec<(Norm, f32)> = Vec::new();
    for (attack, _) in attacks {
        if let Some(eps) = attack.eps()
            && !balls.contains(&(attack.norm(), eps))
        {
            balls.push((attack.norm(), eps));
        }
    }
    let record = |&(norm, eps): &(Norm, f32)| {
        let joined: Vec<&[Outcome]> = attacks
            .iter()
            .filter(|(attack, _)| {
                attack.norm() == norm && [None, Some(eps)].contains(&attack.eps())
            })
            .map(|(_, outcomes)| *outcomes)
            .collect();
        (joined.len() > 1).then(|| AttackRecord {
            attack: "worst-case".into(),
            ..counts(norm, Some(eps), &join(&joined, eps))
        })
    };
    balls.iter().filter_map(record).collect()
}

/// The same attack with each of these radii, for a curve of accuracy against eps.
///
/// # Errors
/// [`Error::Config`] when it has no radius, for a radius given twice, and where the attack refuses
/// one.
pub fn at_radii(spec: &AttackSpec, radii: &[f32]) -> Result<Vec<AttackSpec>> {
    let at = |(i, &eps): (usize, &f32)| {
        if radii[..i].contains(&eps) {
            return Err(Error::config("eps", format!("{eps} is given twice")));
        }
        let spec = spec.with_eps(eps).ok_or_else(|| {
            let reason = format!("`{}` has no radius: it looks for the nearest image", spec.name());
            Error::config("eps", reason)
        })?;
        spec.as_dyn().check()?;
        Ok(spec)
    };
    radii.iter().enumerate().map(at).collect()
}

fn counts(norm: Norm, eps: Option<f32>, outcomes: &[Outcome]) -> AttackRecord {
    let count = |f: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| f(outcome)).count();
    let mut distances: Vec<f64> =
        outcomes.iter().filter(|o| o.succeeded).map(|o| o.distance).collect();
    distances.sort_by(f64::total_cmp);
    AttackRecord {
        norm,
        eps: eps.map(decimal),
        total: outcomes.len(),
        correct: count(Outcome::is_correct),
        robust: count(Outcome::is_robust),
        robust_rounded: count(Outcome::is_robust_rounded),
        mean_distance: mean(&distances),
        median_distance: median(&distances),
        ..AttackRecord::default()
    }
}

/// Image by image what is worst for the network, among the results within the radius.
fn join(attacks: &[&[Outcome]], eps: f32) -> Vec<Outcome> {
    let n = attacks.iter().map(|outcomes| outcomes.len()).min().unwrap_or(0);
    let worst = |i: usize| {
        let mut worst = attacks[0][i].clone();
        (worst.after, worst.rounded) = (worst.clean, worst.clean);
        (worst.succeeded, worst.distance) = (false, f64::INFINITY);
        let inside = |outcome: &&Outcome| outcome.distance <= f64::from(eps) + TOLERANCE;
        for outcome in attacks.iter().map(|outcomes| &outcomes[i]).filter(inside) {
            if worst.after == worst.label {
                worst.after = outcome.after;
            }
            if worst.rounded == worst.label {
                worst.rounded = outcome.rounded;
            }
            if outcome.succeeded {
                worst.succeeded = true;
                worst.distance = worst.distance.min(outcome.distance);
            }
        }
        worst
    };
    (0..n).map(worst).collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Of sorted values; between two, their mean.
fn median(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some((sorted[low] + sorted[high]) / 2.0)
}

/// The f64 that is written like `value`.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fgsm, Pgd};

    /// Of class 0, with these predictions after the attack and after rounding.
    fn outcome(clean: u32, after: u32, rounded: u32, distance: f64) -> Outcome {
        let succeeded = clean == 0 && after != 0;
        Outcome { index: 0, label: 0, clean, after, rounded, distance, succeeded }
    }

    fn pgd(eps: f32) -> AttackSpec {
        AttackSpec::Pgd(Pgd { eps, ..Pgd::default() })
    }

    #[test]
    fn counts_by_hand() {
        let outcomes = [
            outcome(0, 0, 0, 0.5),
            outcome(0, 3, 3, 0.1),
            outcome(0, 3, 0, 0.4),
            outcome(2, 2, 2, 0.9),
            outcome(2, 0, 0, 0.9),
            outcome(0, 1, 1, 0.2),
        ];
        let record = summarize(&pgd(0.1), &outcomes);
        assert_eq!((record.attack.as_str(), record.norm), ("pgd", Norm::Linf));
        assert_eq!((record.total, record.correct, record.robust), (6, 4, 1));
        assert_eq!(record.robust_rounded, 2);
        assert!((record.mean_distance.unwrap() - 0.7 / 3.0).abs() < 1e-12);
        assert!((record.median_distance.unwrap() - 0.2).abs() < 1e-12);
        assert_eq!(record.settings.unwrap().eps, record.eps);
        assert_eq!(record.eps.unwrap().to_string(), "0.1");
        let two = summarize(&pgd(0.1), &outcomes[1..3]);
        assert!((two.median_distance.unwrap() - 0.25).abs() < 1e-12);
        let none = summarize(&pgd(0.1), &outcomes[..1]);
        assert_eq!((none.mean_distance, none.median_distance), (None, None));
    }

    #[test]
    fn the_worst_case_joins_attacks_of_one_norm_and_radius() {
        let fgsm = AttackSpec::Fgsm(Fgsm { eps: 0.1, ..Fgsm::default() });
        let first = [outcome(0, 1, 1, 0.1), outcome(0, 0, 0, 0.1), outcome(0, 0, 0, 0.1)];
        let second = [outcome(0, 0, 0, 0.1), outcome(0, 2, 0, 0.05), outcome(0, 0, 0, 0.1)];
        let larger = [outcome(0, 1, 1, 0.2), outcome(0, 1, 1, 0.2), outcome(0, 1, 1, 0.2)];
        let attacks: [(&dyn Attack, &[Outcome]); 3] =
            [(&fgsm, &first), (&pgd(0.1), &second), (&pgd(0.2), &larger)];
        let [record] = &worst_cases(&attacks)[..] else { panic!("one radius has two attacks") };
        assert_eq!((record.attack.as_str(), record.eps), ("worst-case", Some(0.1)));
        assert!(record.settings.is_none());
        assert_eq!((record.total, record.robust, record.robust_rounded), (3, 1, 2));
        assert!((record.mean_distance.unwrap() - 0.075).abs() < 1e-12);
    }

    #[test]
    fn nearest_images_count_where_they_are_inside_the_ball() {
        let nearest = AttackSpec::all().into_iter().find(|s| s.name() == "deepfool").unwrap();
        let norm = nearest.as_dyn().norm();
        let ball = AttackSpec::Pgd(Pgd { eps: 0.5, norm, ..Pgd::default() });
        let first = [outcome(0, 0, 0, 0.5), outcome(0, 0, 0, 0.5)];
        let second = [outcome(0, 1, 1, 0.4), outcome(0, 1, 1, 0.6)];
        let attacks: [(&dyn Attack, &[Outcome]); 2] = [(&ball, &first), (&nearest, &second)];
        assert_eq!(worst_cases(&attacks)[0].robust, 1);
    }

    #[test]
    fn radii_are_checked() {
        let radii = at_radii(&pgd(0.3), &[0.1, 0.2]).unwrap();
        assert_eq!(
            radii.iter().map(|s| s.as_dyn().eps()).collect::<Vec<_>>(),
            [Some(0.1), Some(0.2)]
        );
        for bad in [&[-0.1][..], &[0.1, 0.1], &[f32::NAN]] {
            assert!(matches!(at_radii(&pgd(0.3), bad), Err(Error::Config { .. })), "{bad:?}");
        }
        let nearest = AttackSpec::all().into_iter().find(|s| s.as_dyn().eps().is_none()).unwrap();
        let error = at_radii(&nearest, &[0.1]).unwrap_err().to_string();
        assert!(error.contains("has no radius"), "{error}");
    }
}
