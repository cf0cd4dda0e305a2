//! What `kd attack` prints.

use kd_core::record::{AttackRecord, AuditRecord, CensusRecord, PicturesRecord, TransferRecord};
use kd_core::wilson;
use serde::Serialize;

use crate::commands::setting::Split;

/// What `--json` prints and `result.json` holds; accuracies are fractions.
#[derive(Debug, Serialize)]
pub(super) struct Output {
    pub(super) model: String,
    pub(super) parameters: usize,
    pub(super) data: String,
    pub(super) split: Split,
    pub(super) attacks: Vec<AttackOutput>,
    pub(super) census: CensusRecord,
    pub(super) audit: Option<AuditRecord>,
}

/// One attack at one radius.
#[derive(Debug, Serialize)]
pub(super) struct AttackOutput {
    #[serde(flatten)]
    record: AttackRecord,
    clean_accuracy: f64,
    robust_accuracy: f64,
    /// Wilson's 95 % interval.
    robust_interval: [f64; 2],
    /// With the adversarial pixels rounded to 8 bits.
    robust_accuracy_rounded: f64,
    /// Among the images classified correctly; none without any.
    success_rate: Option<f64>,
    success_interval: [f64; 2],
    pictures: Option<PicturesRecord>,
}

impl AttackOutput {
    /// The record with its fractions and intervals.
    pub(super) fn new(record: AttackRecord, pictures: Option<PicturesRecord>) -> Self {
        let AttackRecord { total, correct, robust, robust_rounded, .. } = record;
        let fraction = |count: usize| count as f64 / total.max(1) as f64;
        let successes = correct.saturating_sub(robust);
        Self {
            clean_accuracy: fraction(correct),
            robust_accuracy: fraction(robust),
            robust_interval: wilson(robust, total),
            robust_accuracy_rounded: fraction(robust_rounded),
            success_rate: (correct > 0).then(|| successes as f64 / correct as f64),
            success_interval: wilson(successes, correct),
            pictures,
            record,
        }
    }

    fn row(&self) -> [String; 8] {
        let record = &self.record;
        let [low, high] = self.robust_interval;
        let length = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        [
            record.attack.clone(),
            record.eps.map_or("-".into(), |eps| eps.to_string()),
            percent(self.robust_accuracy),
            format!("{:.1} to {:.1}", 100.0 * low, 100.0 * high),
            percent(self.robust_accuracy_rounded),
            self.success_rate.map_or("-".into(), percent),
            format!("{} {}", record.norm, length(record.mean_distance)),
            length(record.median_distance),
        ]
    }
}

impl Output {
    /// To stdout: tables, or one JSON object.
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!("{}: {} parameters, on {}", self.model, self.parameters, self.data);
        if let Some(first) = self.attacks.first() {
            let AttackRecord { total, correct, .. } = first.record;
            let clean = percent(first.clean_accuracy);
            println!("{correct} of {total} images classified correctly ({clean})\n");
            self.print_attacks();
        }
        self.print_census();
        if let Some(audit) = &self.audit {
            println!();
            for check in &audit.checks {
                let word = if check.passed { "PASS" } else { "FAIL" };
                println!("{word}  {:35}  {}", check.name, check.figures);
            }
            println!("\n{}", audit.words);
        }
        Ok(())
    }

    fn print_attacks(&self) {
        let head =
            ["attack", "eps", "robust", "95 %", "8-bit", "success", "mean distance", "median"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.attacks.iter().map(AttackOutput::row));
        print_table(&rows);
        for attack in &self.attacks {
            for transfer in &attack.record.transfer {
                println!("{}", transfer_words(attack, transfer));
            }
        }
        println!();
    }

    fn print_census(&self) {
        let census = &self.census;
        println!("gradient of the cross entropy on {} clean images", census.total);
        println!("exactly 0 in all pixels  {} images", census.zero_gradients);
        println!("not finite               {} images", census.non_finite_gradients);
        println!("zero values              {}", percent(census.zero_fraction));
        println!("mean norm                {:.3e}", census.mean_gradient_norm);
        println!("mean norm of the logits  {:.2}", census.mean_logit_norm);
        println!("mean gap of the logits   {:.2}", census.mean_logit_gap);
    }
}

fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

fn transfer_words(attack: &AttackOutput, transfer: &TransferRecord) -> String {
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

/// Columns as wide as their widest cell.
fn print_table<const N: usize>(rows: &[[String; N]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
