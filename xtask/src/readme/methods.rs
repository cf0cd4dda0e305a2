//! What the referee found: its summary, and all methods in a table.

use std::fmt::Write;

use serde::Deserialize;

use super::results::{Stat, Verdict};

/// Of a run's `report.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    methods: [Methods; 1],
}

#[derive(Debug, Deserialize)]
struct Methods {
    summary: String,
    /// The most accurate first.
    methods: Vec<Method>,
}

#[derive(Debug, Deserialize)]
struct Method {
    name: String,
    top1: Stat,
    over_kd: Option<Effect>,
    over_labels: Option<Effect>,
    rank: Rank,
}

/// The mean of paired differences.
#[derive(Debug, Deserialize)]
struct Effect {
    mean: f64,
    half_width: f64,
    told: Verdict,
}

#[derive(Debug, Deserialize)]
struct Rank {
    range: [usize; 2],
}

impl Effect {
    /// `+0.31 (+0.10 to +0.52) | ▲ better`: points, the mean and the ends of its interval.
    fn cells(&self) -> String {
        let ends = [0.0, -self.half_width, self.half_width];
        let [mean, low, high] = ends.map(|x| format!("{:+.2}", 100.0 * (self.mean + x)));
        format!("{mean} ({low} to {high}) | {}", self.told.words())
    }
}

/// Whether any method beats tuned distillation at equal compute, by how much, and how sure that is.
pub(super) fn sentence(Report { methods: [all] }: &Report) -> String {
    format!("{}\n", all.summary)
}

/// Every method: its accuracy, and what it gains over tuned distillation and over labels alone.
pub(super) fn table(Report { methods: [all] }: &Report) -> String {
    let mut text = "| method | test, percent | over tuned distillation, points | | over labels alone, points | | rank |\n\
                    |---|---:|---:|---|---:|---|---:|\n"
        .to_owned();
    for one in &all.methods {
        let cells = |effect: &Option<Effect>| effect.as_ref().map_or("– | –".into(), Effect::cells);
        let (over_kd, over_labels) = (cells(&one.over_kd), cells(&one.over_labels));
        let (top1, [low, high]) = (one.top1.percent(), one.rank.range);
        let _ = writeln!(
            text,
            "| {} | {top1} | {over_kd} | {over_labels} | {low} to {high} |",
            one.name
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_a_row() {
        let text = r#"{"methods": [{"summary": "None.", "methods": [{
            "name": "dkd", "top1": {"mean": 0.6, "std": 0.001, "n": 3}, "rank": {"place": 1, "range": [1, 2]},
            "over_kd": {"mean": 0.01, "half_width": 0.002, "p": 0.01, "p_holm": 0.02, "told": "open"},
            "over_labels": null}]}]}"#;
        let report = serde_json::from_str(text).unwrap();
        let (said, text) = (sentence(&report), table(&report));
        let row =
            "| dkd | 60.00 ± 0.10 | +1.00 (+0.80 to +1.20) | ? cannot be told | – | – | 1 to 2 |";
        assert_eq!((&said[..], text.lines().nth(2)), ("None.\n", Some(row)));
    }
}
