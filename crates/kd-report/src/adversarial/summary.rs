//! From records to summaries over seeds.

use std::collections::BTreeMap;

use kd_core::Norm;
use kd_core::record::{AttackRecord, CensusRecord, FinalRecord, ModelId, TransferRecord};

use crate::ordered::grouped;
use crate::run::ModelRuns;
use crate::stats::{Stat, over_some};

use super::audit;
use super::{AttackSummary, AttackedModel, CensusSummary, Share, TransferSummary};

/// Every model that was attacked, counted or audited.
pub(super) fn models(runs: &[ModelRuns]) -> Vec<AttackedModel> {
    let attacked = runs.iter().filter(|run| !run.attacked.is_empty());
    attacked.map(|run| model(run, Known(runs))).collect()
}

fn model(run: &ModelRuns, known: Known<'_>) -> AttackedModel {
    let last = run.finals.values().next();
    let temperature = last.and_then(|last| last.how.loss.temperature);
    let of_attack = |records: &Vec<&AttackRecord>| attack(records, known);
    let mut attacks: Vec<_> = run.attacked.attacks().iter().filter_map(of_attack).collect();
    mark_main(&mut attacks);
    attacks.sort_by_key(AttackSummary::is_worst_case);
    let census = census(run.attacked.census.values());
    let audits = run.attacked.audits.values().map(|record| audit::judged(record, census.as_ref()));
    AttackedModel {
        id: run.id.clone(),
        name: known.name(&run.id),
        distilled: last.is_some_and(|last| last.how.is_distilled()),
        temperature: temperature.unwrap_or(1.0),
        perturb: last.and_then(|last| last.how.perturb.clone()),
        attacks,
        audits: audits.collect(),
        census,
        pictures: run.attacked.pictures().to_vec(),
        claim: last.and_then(|last| last.how.claim.clone()),
    }
}

fn attack(records: &[&AttackRecord], known: Known<'_>) -> Option<AttackSummary> {
    let first = records.first()?;
    let share = |count: fn(&AttackRecord) -> usize| {
        Share::of(records.iter().map(|record| (count(record), record.total)))
    };
    let success = records.iter().map(|r| (r.correct.saturating_sub(r.robust), r.correct));
    Some(AttackSummary {
        attack: first.attack.clone(),
        settings: first.settings.clone(),
        norm: first.norm,
        eps: first.eps,
        main: true,
        seeds: records.iter().map(|record| record.seed).collect(),
        n_images: records.iter().map(|record| record.total).min()?,
        clean_accuracy: share(|record| record.correct)?,
        robust_accuracy: share(|record| record.robust)?,
        robust_accuracy_rounded: share(|record| record.robust_rounded)?,
        success: Share::of(success),
        mean_distance: over_some(records.iter().map(|record| record.mean_distance)),
        median_distance: over_some(records.iter().map(|record| record.median_distance)),
        transfer: transfer(records, known),
        seconds: Stat::of(records.iter().map(|record| record.seconds).collect())?,
    })
}

/// Of one name's radii, the first with transfer results, else the first, is the attack's own; a
/// `worst-case` goes with the attacks of its norm and radius.
fn mark_main(attacks: &mut [AttackSummary]) {
    let mut chosen: BTreeMap<String, usize> = BTreeMap::new();
    for (i, attack) in attacks.iter().enumerate().filter(|(_, attack)| !attack.is_worst_case()) {
        let place = chosen.entry(attack.attack.clone()).or_insert(i);
        if attacks[*place].transfer.is_empty() && !attack.transfer.is_empty() {
            *place = i;
        }
    }
    let own: Vec<_> = chosen.values().map(|&i| attacks[i].clone()).collect();
    for (i, attack) in attacks.iter_mut().enumerate() {
        attack.main = match attack.is_worst_case() {
            true => own.iter().any(|other| other.same_ball(attack)),
            false => chosen.get(&attack.attack) == Some(&i),
        };
    }
}

fn transfer(records: &[&AttackRecord], known: Known<'_>) -> Vec<TransferSummary> {
    let all = records.iter().flat_map(|record| &record.transfer);
    let targets = grouped(all, |target| target.id.clone());
    targets.iter().map(|target| tested(target, known)).collect()
}

fn tested(target: &[&TransferRecord], known: Known<'_>) -> TransferSummary {
    let id = &target[0].id;
    let last = known.last(id);
    TransferSummary {
        id: id.clone(),
        name: known.name(id),
        defended: Share::of(target.iter().map(|t| (t.robust, t.correct))),
        transfer_rate: Share::of(target.iter().map(|t| (t.fooled_both, t.fooled_source))),
        claim: last.and_then(|last| last.how.claim.clone()),
        plain: last.is_some_and(|last| !last.how.is_distilled() && last.how.perturb.is_none()),
    }
}

fn census<'a>(records: impl Iterator<Item = &'a CensusRecord> + Clone) -> Option<CensusSummary> {
    let share =
        |count: fn(&CensusRecord) -> usize| Share::of(records.clone().map(|r| (count(r), r.total)));
    let stat = |value: fn(&CensusRecord) -> f64| Stat::of(records.clone().map(value).collect());
    Some(CensusSummary {
        zero_gradients: share(|record| record.zero_gradients)?,
        non_finite_gradients: share(|record| record.non_finite_gradients)?,
        zero_fraction: stat(|record| record.zero_fraction)?,
        gradient_norm: stat(|record| record.mean_gradient_norm)?,
        logit_norm: stat(|record| record.mean_logit_norm)?,
        logit_gap: stat(|record| record.mean_logit_gap)?,
    })
}

/// All models of the run.
#[derive(Clone, Copy)]
struct Known<'a>(&'a [ModelRuns]);

impl<'a> Known<'a> {
    /// The model's own name where no other has it.
    fn name(self, id: &ModelId) -> String {
        match self.0.iter().filter(|run| run.id.model == id.model).count() > 1 {
            true => id.to_string(),
            false => id.model.clone(),
        }
    }

    /// The end of its first seed's training.
    fn last(self, id: &ModelId) -> Option<&'a FinalRecord> {
        self.0.iter().find(|run| run.id == *id)?.finals.values().next()
    }
}

impl AttackSummary {
    /// Whether it joins all attacks of one norm and radius.
    pub fn is_worst_case(&self) -> bool {
        self.settings.is_none()
    }

    /// Whether both have the same norm and radius.
    pub(super) fn same_ball(&self, other: &Self) -> bool {
        let ball = |attack: &Self| (attack.norm, attack.eps.map(f64::to_bits));
        ball(self) == ball(other)
    }

    /// Its name, norm and radius: `pgd, L∞ 0.1`.
    pub(super) fn title(&self) -> String {
        format!("{}, {}", self.attack, self.ball())
    }

    /// Its norm and radius: `L∞ 0.1`.
    pub(super) fn ball(&self) -> String {
        let eps = self.eps.map_or(String::new(), |eps| format!(" {}", radius(eps)));
        format!("{}{eps}", norm(self.norm))
    }
}

/// The norm's symbol.
pub(super) fn norm(norm: Norm) -> &'static str {
    match norm {
        Norm::Linf => "L\u{221e}",
        Norm::L2 => "L2",
        Norm::L0 => "L0",
    }
}

/// At most four decimals: 0.1 as f32 is 0.10000000149.
pub(super) fn radius(eps: f64) -> String {
    let text = format!("{eps:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::settings;
    use super::*;

    fn record(attack: &str, eps: Option<f64>) -> AttackRecord {
        AttackRecord {
            attack: attack.into(),
            settings: (attack != "worst-case").then(|| settings(json!({"kind": attack}))),
            eps,
            total: 10,
            correct: 8,
            robust: 2,
            robust_rounded: 3,
            ..AttackRecord::default()
        }
    }

    fn summaries(records: Vec<AttackRecord>) -> AttackedModel {
        let mut run = ModelRuns { id: ModelId::new("t", "m"), ..ModelRuns::default() };
        records.into_iter().for_each(|record| run.attacked.add_attack(record));
        models(&[run]).swap_remove(0)
    }

    #[test]
    fn fractions_by_hand() {
        let mut second = AttackRecord { seed: 1, robust: 4, ..record("pgd", Some(0.1)) };
        second.mean_distance = Some(0.1);
        let attacks = summaries(vec![record("pgd", Some(0.1)), second]).attacks;
        let [pgd] = &attacks[..] else { panic!("one attack, two seeds") };
        assert_eq!((pgd.seeds.clone(), pgd.n_images, pgd.main), (vec![0, 1], 10, true));
        assert_eq!(pgd.clean_accuracy.over_seeds.values, [0.8, 0.8]);
        assert_eq!(pgd.robust_accuracy.over_seeds.values, [0.2, 0.4]);
        assert_eq!(pgd.robust_accuracy_rounded.over_seeds.values, [0.3, 0.3]);
        assert_eq!(pgd.success.as_ref().unwrap().over_seeds.values, [0.75, 0.5]);
        assert_eq!(pgd.mean_distance, None, "one seed has none");
    }

    #[test]
    fn a_later_record_replaces_the_same_attack_and_no_images_are_no_summary() {
        let again = AttackRecord { robust: 1, ..record("pgd", Some(0.1)) };
        let attacks = summaries(vec![record("pgd", Some(0.1)), again]).attacks;
        assert_eq!(attacks[0].robust_accuracy.over_seeds.values, [0.1]);
        let none = AttackRecord { total: 0, ..record("pgd", None) };
        assert!(summaries(vec![none]).attacks.is_empty());
    }

    #[test]
    fn the_radius_with_transfer_is_the_attacks_own() {
        let mut own = record("pgd", Some(0.1));
        own.transfer.push(TransferRecord::default());
        let worst = |eps| record("worst-case", Some(eps));
        let records = vec![
            worst(0.1),
            worst(0.3),
            record("pgd", Some(0.05)),
            own,
            record("fgsm", Some(0.1)),
            record("fgsm", Some(0.2)),
        ];
        let attacks = summaries(records).attacks;
        let main: Vec<_> =
            attacks.iter().filter(|a| a.main).map(|a| (a.attack.as_str(), a.eps)).collect();
        let expected = [("pgd", Some(0.1)), ("fgsm", Some(0.1)), ("worst-case", Some(0.1))];
        assert_eq!(main, expected, "the worst case last");
        assert_eq!(attacks[0].title(), "pgd, L\u{221e} 0.05");
    }

    #[test]
    fn names_are_short_where_that_is_clear() {
        let run = |training: &str, model: &str| ModelRuns {
            id: ModelId::new(training, model),
            ..ModelRuns::default()
        };
        let runs = [run("a", "teacher"), run("b", "teacher"), run("b", "student")];
        assert_eq!(Known(&runs).name(&ModelId::new("b", "teacher")), "b/teacher");
        assert_eq!(Known(&runs).name(&ModelId::new("b", "student")), "student");
    }

    #[test]
    fn radii_as_text() {
        let texts = [0.1_f32.into(), 8.0 / 255.0, 1.0, 0.0, 2.5].map(radius);
        assert_eq!(texts, ["0.1", "0.0314", "1", "0", "2.5"]);
    }
}
