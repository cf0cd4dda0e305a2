//! The attacks of an audit.

use std::collections::BTreeSet;

use kd_core::{Result, Stream};

use super::Audit;
use crate::evaluation::observe;
use crate::{
    Apgd, AttackSpec, Examples, Fgsm, Norm, Objective, ObjectiveKind, Pgd, Square, Victim, attack,
};

/// Rows of the audited examples.
pub(super) type Rows = BTreeSet<usize>;

/// Random points of the ball that are tried for each image.
const N_NOISE: u64 = 20;

/// A network with the examples that it classifies correctly.
pub(super) struct Lab<'a> {
    pub(super) audit: &'a Audit,
    pub(super) victim: &'a Victim<'a>,
    pub(super) examples: Examples,
    pub(super) stream: Stream,
}

impl Lab<'_> {
    /// Every row.
    pub(super) fn all(&self) -> Rows {
        (0..self.examples.len()).collect()
    }

    /// The rows, of those given, that fall to `spec`.
    pub(super) fn fallen(&self, spec: &AttackSpec, rows: &Rows) -> Result<Rows> {
        let rows: Vec<usize> = rows.iter().copied().collect();
        let part = self.examples.select(&rows);
        let successes = attack(spec, self.victim, &part, self.stream)?.successes;
        Ok(rows.into_iter().zip(successes).filter(|(_, success)| *success).map(|r| r.0).collect())
    }

    fn pgd(&self, objective: Objective) -> Pgd {
        let Audit { eps, n_steps, .. } = *self.audit;
        Pgd {
            eps,
            step_size: Some(4.0 * eps / n_steps as f32),
            n_steps,
            objective,
            ..Pgd::default()
        }
    }

    /// One step along the gradient of the cross entropy.
    pub(super) fn one_step(&self) -> AttackSpec {
        AttackSpec::Fgsm(Fgsm { eps: self.audit.eps, ..Fgsm::default() })
    }

    /// PGD on the cross entropy, from one random start: what papers report.
    pub(super) fn plain(&self) -> AttackSpec {
        AttackSpec::Pgd(self.pgd(Objective::default()))
    }

    /// The plain attack with the radius times `factor`, at most 1.
    pub(super) fn plain_at(&self, factor: f32) -> AttackSpec {
        let eps = (self.audit.eps * factor).min(1.0);
        let step_size = Some(4.0 * eps / self.audit.n_steps as f32);
        AttackSpec::Pgd(Pgd { eps, step_size, ..self.pgd(Objective::default()) })
    }

    /// The plain attack with twice the steps, from twice as many starts.
    pub(super) fn longer(&self) -> AttackSpec {
        let pgd = self.pgd(Objective::default());
        AttackSpec::Pgd(Pgd { n_steps: 2 * pgd.n_steps, restarts: 2, ..pgd })
    }

    /// Without gradients.
    pub(super) fn square(&self) -> AttackSpec {
        let Audit { eps, n_queries, .. } = *self.audit;
        AttackSpec::Square(Square { norm: Norm::Linf, eps, n_queries, ..Square::default() })
    }

    /// What falls to objectives that do not saturate where the cross entropy does, by name: the
    /// margin, DLR (for three classes and more), and the cross entropy of logits divided by `gap`,
    /// their mean distance, which undoes a temperature of any size.
    pub(super) fn other_objectives(&self, gap: f64, rows: &Rows) -> Result<Vec<(String, Rows)>> {
        let margin = Objective { kind: ObjectiveKind::Margin, temperature: 1.0 };
        let mut specs = vec![("the margin".to_owned(), AttackSpec::Pgd(self.pgd(margin)))];
        let dlr = Objective { kind: ObjectiveKind::Dlr, temperature: 1.0 };
        if dlr.check_classes(self.victim.n_classes(), false).is_ok() {
            let Audit { eps, n_steps, .. } = *self.audit;
            let apgd = Apgd { eps, n_steps: 2 * n_steps, objective: dlr, ..Apgd::default() };
            specs.push(("DLR".into(), AttackSpec::Apgd(apgd)));
        }
        if gap > 1.0 {
            let divided = Objective { temperature: gap as f32, ..Objective::default() };
            let name = format!("the cross entropy of logits / {gap:.1}");
            specs.push((name, AttackSpec::Pgd(self.pgd(divided))));
        }
        specs.into_iter().map(|(name, spec)| Ok((name, self.fallen(&spec, rows)?))).collect()
    }

    /// What falls to images made against the others, by name, along their margins: a distilled
    /// network gives no gradient of the cross entropy to make them with.
    pub(super) fn transferred(
        &self,
        others: &[(&str, &Victim<'_>)],
        rows: &Rows,
    ) -> Result<Vec<(String, Rows)>> {
        let margin = Objective { kind: ObjectiveKind::Margin, temperature: 1.0 };
        let spec = AttackSpec::Pgd(self.pgd(margin));
        let rows: Vec<usize> = rows.iter().copied().collect();
        let part = self.examples.select(&rows);
        let transferred = |(name, other): &(&str, &Victim<'_>)| {
            let images = attack(&spec, other, &part, self.stream)?.pixels;
            Ok(((*name).to_owned(), self.fallen_to(&rows, &images)?))
        };
        others.iter().map(transferred).collect()
    }

    /// What falls to random points of the ball.
    pub(super) fn noise(&self, rows: &Rows) -> Result<Rows> {
        let mut standing: Vec<usize> = rows.iter().copied().collect();
        let mut fallen = Rows::new();
        for k in 0..N_NOISE {
            let stream = self.stream.at("noise").number(k);
            let point = |&i: &usize| {
                let mut rng = stream.number(u64::from(self.examples.indices[i])).rng();
                Norm::Linf.random_start(self.examples.image(i), self.audit.eps, &mut rng)
            };
            let images: Vec<f32> = standing.iter().flat_map(point).collect();
            fallen.extend(self.fallen_to(&standing, &images)?);
            standing.retain(|i| !fallen.contains(i));
        }
        Ok(fallen)
    }

    /// The rows, of those given, on which `images`, one for each, succeed.
    fn fallen_to(&self, rows: &[usize], images: &[f32]) -> Result<Rows> {
        let part = self.examples.select(rows);
        let outcomes = observe(self.victim, Norm::Linf, &part, images)?;
        let fallen = rows.iter().zip(outcomes).filter(|(_, outcome)| outcome.succeeded);
        Ok(fallen.map(|(&row, _)| row).collect())
    }
}
