//! What a distilled model is measured by: another model, the same attack, all attacks together.

use std::collections::BTreeSet;

use kd_core::record::{AttackKind, AttackObjective, AttackSettings};

use super::{Adversarial, AttackSummary, AttackedModel, Share, TransferSummary};

/// The model that is the same but for the temperature: of the same training, distilled at the
/// lowest; else one that learned from labels.
pub(super) fn twin<'a>(all: &'a Adversarial, student: &AttackedModel) -> Option<&'a AttackedModel> {
    let lower = |model: &&AttackedModel| model.temperature < student.temperature;
    let others = || all.models.iter().filter(|model| model.perturb.is_none());
    let same = |m: &&AttackedModel| m.distilled && m.id.training == student.id.training;
    let cooler = others().filter(same).filter(lower);
    let coolest = cooler.min_by(|a, b| a.temperature.total_cmp(&b.temperature));
    let on_labels = others().filter(|model| !model.distilled && !model.attacks.is_empty());
    coolest.or_else(|| on_labels.into_iter().find(|m| m.temperature <= student.temperature))
}

/// The model that the paper tests on: the one that shares the student's mark, else the first that
/// learned from labels.
pub(super) fn teacher<'a>(
    attack: &'a AttackSummary,
    student: &AttackedModel,
) -> Option<&'a TransferSummary> {
    let plain = || attack.transfer.iter().filter(|target| target.plain);
    let marked = plain().find(|target| target.claim.is_some() && target.claim == student.claim);
    marked.or_else(|| plain().next())
}

impl AttackedModel {
    /// The attack of this kind on the cross entropy of the logits as they are, at no confidence.
    pub(super) fn plain(&self, kind: &AttackKind) -> Option<&AttackSummary> {
        let usual = AttackObjective::default();
        let is = |settings: &AttackSettings| {
            settings.kind == *kind
                && settings.objective.as_ref().is_none_or(|objective| *objective == usual)
                && settings.kappa.unwrap_or(0.0) <= 0.0
        };
        self.attacks.iter().find(|attack| attack.main && attack.settings.as_ref().is_some_and(is))
    }

    /// The same attack at the same radius.
    pub(super) fn under(&self, attack: &AttackSummary) -> Option<&AttackSummary> {
        let same = |a: &&AttackSummary| a.attack == attack.attack && a.same_ball(attack);
        self.attacks.iter().find(same)
    }

    /// Names of the attacks of one norm and radius.
    pub(super) fn attacks_in(&self, ball: &AttackSummary) -> BTreeSet<&str> {
        let inside = self.attacks.iter().filter(|a| a.same_ball(ball) && !a.is_worst_case());
        inside.map(|attack| attack.attack.as_str()).collect()
    }

    /// Robust accuracy against all attacks of one norm and radius together; where they are not
    /// joined, against the best of them.
    pub(super) fn worst(&self, ball: &AttackSummary) -> Option<&Share> {
        let inside = || self.attacks.iter().filter(|a| a.same_ball(ball));
        let joined = inside().find(|a| a.is_worst_case()).map(|a| &a.robust_accuracy);
        let single = inside().map(|a| &a.robust_accuracy);
        joined.or_else(|| single.min_by(|a, b| a.mean().total_cmp(&b.mean())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_twin_is_the_cooler_student_else_one_that_learned_from_labels() {
        let all = fixture::summary();
        let name = |student| twin(&all, student).map(|twin| twin.name.as_str());
        assert_eq!(name(&all.models[2]), Some("student-t1"));
        assert_eq!(name(&all.models[1]), Some("teacher"));
    }
}
