//! The report of a task, for people.

use std::fmt;

use kd_core::record::{AuditRecord, CensusRecord, TransferRecord};

use super::{AttackReport, AttackResult};
use crate::table::table;

impl fmt::Display for AttackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} parameters, on {}", self.model, self.parameters, self.data)?;
        if let Some(AttackResult { record, clean_accuracy, .. }) = self.attacks.first() {
            let (correct, total) = (record.correct, record.total);
            let clean = percent(*clean_accuracy);
            writeln!(f, "{correct} of {total} images classified correctly ({clean})\n")?;
            writeln!(f, "{}\n", attacks(&self.attacks))?;
        }
        f.write_str(&census(&self.census))?;
        self.audit.as_ref().map_or(Ok(()), |record| write!(f, "\n\n{}", audit(record)))
    }
}

fn attacks(attacks: &[AttackResult]) -> String {
    let head =
        ["attack", "eps", "step", "robust", "95 %", "8-bit", "success", "mean distance", "median"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(attacks.iter().map(row));
    let transfers = attacks
        .iter()
        .flat_map(|attack| attack.record.transfer.iter().map(|record| transfer(attack, record)));
    std::iter::once(table(&rows, "", &[])).chain(transfers).collect::<Vec<_>>().join("\n")
}

fn row(attack: &AttackResult) -> [String; 9] {
    let record = &attack.record;
    let [low, high] = attack.robust_interval;
    let length = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
    [
        record.attack.clone(),
        record.eps.map_or("-".into(), |eps| eps.to_string()),
        attack.step_size.map_or("-".into(), |step| step.to_string()),
        percent(attack.robust_accuracy),
        format!("{:.1} to {:.1}", 100.0 * low, 100.0 * high),
        percent(attack.robust_accuracy_rounded),
        attack.success_rate.map_or("-".into(), percent),
        format!("{} {}", record.norm, length(record.mean_distance)),
        length(record.median_distance),
    ]
}

fn transfer(attack: &AttackResult, transfer: &TransferRecord) -> String {
    let TransferRecord { id, correct, robust, fooled_source, fooled_both } = transfer;
    let model = &id.model;
    let eps = attack.record.eps.map_or(String::new(), |eps| format!(" at eps {eps}"));
    let share = |count: usize, total: usize| percent(count as f64 / total.max(1) as f64);
    format!(
        "{}{eps} shown to {model}: it still classifies {robust} of {correct} correctly ({}); of \
         the {fooled_source} that fool the source, {fooled_both} fool it too ({})",
        attack.record.attack,
        share(*robust, *correct),
        share(*fooled_both, *fooled_source)
    )
}

fn census(census: &CensusRecord) -> String {
    [
        format!("gradient of the cross entropy on {} clean images", census.total),
        format!("exactly 0 in all pixels  {} images", census.zero_gradients),
        format!("not finite               {} images", census.non_finite_gradients),
        format!("zero values              {}", percent(census.zero_fraction)),
        format!("mean norm                {:.3e}", census.mean_gradient_norm),
        format!("mean norm of the logits  {:.2}", census.mean_logit_norm),
        format!("mean gap of the logits   {:.2}", census.mean_logit_gap),
    ]
    .join("\n")
}

fn audit(audit: &AuditRecord) -> String {
    let checks = audit.checks.iter().map(|check| {
        let word = if check.passed { "PASS" } else { "FAIL" };
        format!("{word}  {:35}  {}\n", check.name, check.figures)
    });
    format!("{}\n{}", checks.collect::<String>(), audit.words)
}

fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}
