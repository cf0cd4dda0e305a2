//! What the referee found: whether any method beats tuned distillation, in a sentence, and all of them in a table.

use std::fmt::Write;

use serde::Deserialize;

use super::results::Stat;

/// Of a run's `report.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    methods: [Methods; 1],
}

#[derive(Debug, Deserialize)]
struct Methods {
    labels: String,
    kd: String,
    /// The most accurate first.
    methods: Vec<Method>,
}

#[derive(Debug, Deserialize)]
struct Method {
    name: String,
    kind: String,
    taught: bool,
    top1: Stat,
    over_kd: Option<Effect>,
    over_labels: Option<Effect>,
    rank: Rank,
    cost: f64,
}

/// The mean of paired differences.
#[derive(Debug, Deserialize)]
struct Effect {
    mean: f64,
    half_width: f64,
    p_holm: f64,
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    Better,
    Worse,
    Open,
}

#[derive(Debug, Deserialize)]
struct Rank {
    range: [usize; 2],
}

impl Methods {
    /// Methods with a teacher beside distillation, at as many images through the student, and what they gain over it.
    fn rivals(&self) -> impl Iterator<Item = (&Method, &Effect)> {
        let is_rival =
            |one: &&Method| one.taught && one.kind != "distill" && (one.cost - 1.0).abs() < 0.01;
        let rivals = self.methods.iter().filter(is_rival);
        rivals.filter_map(|one| one.over_kd.as_ref().map(|effect| (one, effect)))
    }

    fn percent(&self, name: &str) -> String {
        let one = self.methods.iter().find(|one| one.name == name);
        one.map_or("–".into(), |one| one.top1.percent())
    }
}

impl Effect {
    /// The mean and the ends of its interval, points.
    fn points(&self) -> [String; 3] {
        let ends = [0.0, -self.half_width, self.half_width];
        ends.map(|x| format!("{:+.2}", 100.0 * (self.mean + x)))
    }

    /// `+0.31 (+0.10 to +0.52) | ▲ better`.
    fn cells(&self) -> String {
        let [mean, low, high] = self.points();
        format!("{mean} ({low} to {high}) | {}", self.words())
    }

    fn words(&self) -> &'static str {
        match self.told {
            Told::Better => "▲ better",
            Told::Worse => "▼ worse",
            Told::Open => "? cannot be told",
        }
    }
}

/// Whether any method beats tuned distillation at equal compute, by how much, and how sure that is.
pub(super) fn sentence(Report { methods: [all] }: &Report) -> String {
    let rivals: Vec<_> = all.rivals().collect();
    let beating: Vec<_> = (rivals.iter().filter(|(_, effect)| effect.told == Told::Better))
        .map(|(one, _)| format!("`{}`", one.name))
        .collect();
    let told = match beating.len() {
        0 => "none is shown to beat".to_owned(),
        1 => format!("one ({}) beats", beating[0]),
        n => format!("{n} ({}) beat", beating.join(", ")),
    };
    let Some((best, effect)) = rivals.iter().max_by(|a, b| a.1.mean.total_cmp(&b.1.mean)) else {
        return String::new();
    };
    let [mean, low, high] = effect.points();
    let p = match effect.p_holm {
        p if p < 0.001 => "p < 0.001".to_owned(),
        p => format!("p = {p:.3}"),
    };
    format!(
        "Of {} methods at equal compute, {told} tuned distillation ({} %; labels alone {} %); the largest difference is \
         that of `{}`: {mean} points (95 % interval {low} to {high}, {p} after Holm's correction, {} seeds).\n",
        rivals.len(),
        all.percent(&all.kd),
        all.percent(&all.labels),
        best.name,
        best.top1.n,
    )
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

    fn report(told: &str) -> Report {
        let effect = |mean: f64, told: &str| {
            format!(
                r#"{{"mean": {mean}, "half_width": 0.002, "p": 0.01, "p_holm": 0.02, "told": "{told}"}}"#
            )
        };
        let method = |name: &str, kind: &str, taught: bool, cost: f64, over_kd: &str| {
            format!(
                r#"{{"name": "{name}", "kind": "{kind}", "taught": {taught}, "cost": {cost}, "over_kd": {over_kd},
                    "top1": {{"mean": 0.6, "std": 0.001, "n": 3}}, "over_labels": null,
                    "rank": {{"place": 1, "range": [1, 2]}}}}"#
            )
        };
        let methods = [
            method("views", "mlkd", true, 2.0, &effect(0.02, "better")),
            method("dkd", "dkd", true, 1.0, &effect(0.01, told)),
            method("kd", "distill", true, 1.0, "null"),
            method("smooth", "label-smoothing", false, 1.0, &effect(0.03, "better")),
        ];
        let text = format!(
            r#"{{"methods": [{{"training": "small", "labels": "smooth", "kd": "kd", "methods": [{}]}}]}}"#,
            methods.join(", ")
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_sentence_counts_taught_methods_at_equal_compute() {
        let text = sentence(&report("better"));
        assert!(
            text.starts_with("Of 1 methods at equal compute, one (`dkd`) beats tuned"),
            "{text}"
        );
        assert!(text.contains("(60.00 ± 0.10 %; labels alone 60.00 ± 0.10 %)"), "{text}");
        assert!(
            text.contains("`dkd`: +1.00 points (95 % interval +0.80 to +1.20, p = 0.020"),
            "{text}"
        );
        assert!(sentence(&report("open")).contains("none is shown to beat tuned distillation"));
    }

    #[test]
    fn a_method_has_a_row() {
        let text = table(&report("open"));
        let rows: Vec<&str> = text.lines().collect();
        let dkd =
            "| dkd | 60.00 ± 0.10 | +1.00 (+0.80 to +1.20) | ? cannot be told | – | – | 1 to 2 |";
        assert_eq!((rows.len(), rows[3]), (6, dkd));
    }
}
