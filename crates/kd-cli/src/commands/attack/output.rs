//! What `kd attack` prints.

use kd_core::record::{CensusRecord, TransferRecord};
use kd_suite::{AttackReport, AttackResult};

use crate::commands::table;

/// Tables to stdout.
pub(super) fn print(report: &AttackReport) {
    println!("{}: {} parameters, on {}", report.model, report.parameters, report.data);
    if let Some(AttackResult { record, clean_accuracy, .. }) = report.attacks.first() {
        let (correct, total, clean) = (record.correct, record.total, percent(*clean_accuracy));
        println!("{correct} of {total} images classified correctly ({clean})\n");
        print_attacks(&report.attacks);
    }
    print_census(&report.census);
    if let Some(audit) = &report.audit {
        println!();
        for check in &audit.checks {
            let word = if check.passed { "PASS" } else { "FAIL" };
            println!("{word}  {:35}  {}", check.name, check.figures);
        }
        println!("\n{}", audit.words);
    }
}

fn print_attacks(attacks: &[AttackResult]) {
    let head =
        ["attack", "eps", "step", "robust", "95 %", "8-bit", "success", "mean distance", "median"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(attacks.iter().map(row));
    table::print(&rows, "", &[]);
    for attack in attacks {
        for transfer in &attack.record.transfer {
            println!("{}", transfer_words(attack, transfer));
        }
    }
    println!();
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

fn print_census(census: &CensusRecord) {
    println!("gradient of the cross entropy on {} clean images", census.total);
    println!("exactly 0 in all pixels  {} images", census.zero_gradients);
    println!("not finite               {} images", census.non_finite_gradients);
    println!("zero values              {}", percent(census.zero_fraction));
    println!("mean norm                {:.3e}", census.mean_gradient_norm);
    println!("mean norm of the logits  {:.2}", census.mean_logit_norm);
    println!("mean gap of the logits   {:.2}", census.mean_logit_gap);
}

fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

fn transfer_words(attack: &AttackResult, transfer: &TransferRecord) -> String {
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
