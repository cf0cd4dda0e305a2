//! What suites measured: the keys of a run's `report.json` that are shown, and their tables.

use serde::Deserialize;

use crate::failure::{Code, Failure, Result};

use super::chart::{Chart, Mark, Row};

/// Of a run's `report.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    #[serde(default)]
    claims: Vec<Claim>,
    #[serde(default)]
    models: Vec<Model>,
    adversarial: Option<Adversarial>,
}

#[derive(Debug, Deserialize)]
struct Claim {
    id: String,
    /// Table, figure or section; of another paper with its authors and year.
    #[serde(default)]
    source: String,
    measure: String,
    paper: Paper,
    ours: Stat,
    selection: Selection,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Paper {
    Value(f64),
    Interval([f64; 2]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Selection {
    Best,
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Reproduced,
    Better,
    Worse,
    Differs,
    Open,
    None,
}

#[derive(Debug, Deserialize)]
pub(super) struct Stat {
    pub(super) mean: f64,
    std: Option<f64>,
    n: usize,
}

impl Stat {
    /// Mean, and standard deviation of more than one.
    pub(super) fn percent(&self) -> String {
        match self.std {
            Some(std) => format!("{} ± {}", percent(self.mean), percent(std)),
            None => percent(self.mean),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Model {
    training: String,
    model: String,
    last: Stat,
}

#[derive(Debug, Deserialize)]
struct Adversarial {
    models: Vec<Attacked>,
}

#[derive(Debug, Deserialize)]
struct Attacked {
    model: String,
    temperature: f64,
    attacks: Vec<Attack>,
}

#[derive(Debug, Deserialize)]
struct Attack {
    attack: String,
    main: bool,
    #[serde(default)]
    transfer: Vec<Transfer>,
}

#[derive(Debug, Deserialize)]
struct Transfer {
    model: String,
    defended: Option<Share>,
}

#[derive(Debug, Deserialize)]
struct Share {
    mean: f64,
    interval: [f64; 2],
}

/// The same trainings in kd and in PyTorch.
#[derive(Debug, Deserialize)]
pub(super) struct Parity {
    peer: String,
    epochs: u32,
    models: Vec<Pair>,
}

#[derive(Debug, Deserialize)]
struct Pair {
    model: String,
    peer: Stat,
    kd: Stat,
}

impl Paper {
    fn ends(self) -> [f64; 2] {
        match self {
            Self::Value(value) => [value; 2],
            Self::Interval(ends) => ends,
        }
    }
}

impl Claim {
    fn text(&self, value: f64) -> String {
        match &*self.measure {
            "best-temperature" => format!("T = {value:.1}"),
            measure if measure.contains("errors") => format!("{value:.0}"),
            _ => percent(value),
        }
    }

    fn paper(&self) -> String {
        match self.paper {
            Paper::Value(value) => self.text(value),
            Paper::Interval([low, high]) => format!("{} to {}", self.text(low), self.text(high)),
        }
    }

    fn ours(&self) -> String {
        let spread = self.ours.std.map(|std| format!(" ± {}", self.text(std).replace("T = ", "")));
        format!("{}{} (n = {})", self.text(self.ours.mean), spread.unwrap_or_default(), self.ours.n)
    }
}

impl Verdict {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Reproduced => "= reproduced",
            Self::Better => "▲ better",
            Self::Worse => "▼ worse",
            Self::Differs => "≠ differs",
            Self::Open => "? cannot be told",
            Self::None => "–",
        }
    }
}

impl Report {
    fn claim(&self, id: &str, selection: Selection) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.id == id && claim.selection == selection)
    }

    /// The claims whose best epoch is one of the trainings of 30 or 300 units, or of the teacher.
    fn accuracies(&self) -> impl Iterator<Item = &Claim> {
        let shown = |claim: &&Claim| {
            claim.selection == Selection::Best
                && claim.measure == "top1"
                && !claim.id.starts_with("mnist/omit")
        };
        self.claims.iter().filter(shown)
    }
}

/// The paper's numbers, ours of the best and of the last epoch, and their verdicts.
pub(super) fn claims(report: &Report) -> String {
    let mut ids: Vec<_> = report.claims.iter().map(|claim| &claim.id).collect();
    ids.dedup();
    let half = |id: &str, selection| {
        let claim = report.claim(id, selection);
        let words = |claim: &Claim| format!("{} | {}", claim.ours(), claim.verdict.words());
        claim.map_or("– | –".into(), words)
    };
    let mut text =
        "| claim | where | paper | ours, best epoch | verdict | ours, last epoch | verdict |\n\
         | --- | --- | ---: | ---: | --- | ---: | --- |\n"
            .to_owned();
    for id in ids {
        let claim = report.claims.iter().find(|claim| claim.id == *id);
        let (paper, source) = claim.map_or_else(Default::default, |c| (c.paper(), &*c.source));
        let (best, last) = (half(id, Selection::Best), half(id, Selection::Last));
        text += &format!("| {id} | {source} | {paper} | {best} | {last} |\n");
    }
    text
}

/// Paper and ours, of the best epoch as the paper prints it, in a chart.
pub(super) fn picture(report: &Report) -> String {
    let row = |claim: &Claim| {
        let Paper::Value(paper) = claim.paper else { return None };
        let (name, verdict) = (claim.id.trim_start_matches("mnist/"), claim.verdict.words());
        let values = format!("{} → {}", claim.paper(), percent(claim.ours.mean));
        let mark = Mark::Step { from: 100.0 * paper, to: 100.0 * claim.ours.mean };
        Some(Row { name: name.into(), mark, value: format!("{values}  {verdict}") })
    };
    let rows: Vec<_> = report.accuracies().filter_map(row).collect();
    let n = report.claims.iter().map(|claim| claim.ours.n).min().unwrap_or(0);
    let title = format!("Accuracy on MNIST, percent: ○ the paper → ● kd (best epoch, n = {n})");
    let groups = vec![(String::new(), rows)];
    Chart { title, groups, left: 190.0, ends: (96.0, 100.0), line: None }.svg()
}

/// What came out, in one table.
pub(super) fn summary(mnist: &Report, defensive: &Report, parity: &Parity) -> Result<String> {
    let mut text = "| | paper | kd |\n|---|---:|---:|\n".to_owned();
    let best = |id: &str| found(mnist.claim(id, Selection::Best), id);
    let mut both = |what: &str, labels: &Claim, taught: &Claim| {
        let ours = |claim: &Claim| percent(claim.ours.mean);
        text += &format!(
            "| {what} | {} / {} % | {} / {} % |\n",
            labels.paper(),
            taught.paper(),
            ours(labels),
            ours(taught)
        );
    };
    both(
        "300 units: from labels / distilled",
        best("mnist/student300/baseline")?,
        best("mnist/student300/distilled")?,
    );
    let grid = mnist.accuracies().filter(|claim| claim.id.starts_with("mnist/student30/alpha"));
    let paper = |claim: &&Claim| claim.paper.ends()[0];
    let top = found(grid.max_by(|a, b| paper(a).total_cmp(&paper(b))), "Table 1")?;
    let what = "30 units: from labels / the paper's best distilled";
    both(what, best("mnist/student30/baseline")?, top);
    let recipe = |model: &str| {
        let is = |m: &&Model| m.training == "student30-recipe" && m.model == model;
        found(mnist.models.iter().find(is), "student30-recipe").map(|m| percent(m.last.mean))
    };
    text += &format!(
        "| 30 units on images as they are: from labels / soft targets at T = 2 | – | {} / {} % |\n",
        recipe("baseline")?,
        recipe("alpha1-t2")?
    );
    let errors = "mnist/omit3/distilled/errors";
    let errors = found(mnist.claim(errors, Selection::Last), errors)?;
    text += &format!(
        "| 300 units that never saw a 3: errors on 10,000 images | {} | {:.0} |\n",
        errors.paper(),
        errors.ours.mean
    );
    text += &format!(
        "| images made on a distilled network, right on its teacher | {} % | {} % |\n",
        range(defensive.claims.iter().flat_map(|claim| claim.paper.ends())),
        range(defensive.claims.iter().map(|claim| claim.ours.mean))
    );
    let apart = parity.models.iter().map(Pair::standard_errors).fold(0.0, f64::max);
    text += &format!(
        "| the protocol in {}, {} networks, {} epochs: means apart by | | at most {apart:.1} \
         standard errors |\n",
        parity.peer,
        parity.models.len(),
        parity.epochs
    );
    Ok(text)
}

fn found<'a, T>(what: Option<&'a T>, name: &str) -> Result<&'a T> {
    let line = format!("xtask/results: {name} is missing");
    what.ok_or_else(|| Failure::new(Code::BadData, line))
}

impl Pair {
    /// The difference of the means in standard errors of the difference.
    fn standard_errors(&self) -> f64 {
        let error = |stat: &Stat| stat.std.unwrap_or(0.0) / (stat.n as f64).sqrt();
        (self.peer.mean - self.kd.mean).abs() / error(&self.peer).hypot(error(&self.kd))
    }
}

/// Means in PyTorch and in kd.
pub(super) fn parity(parity: &Parity) -> String {
    let mut text = format!("| model | {} | kd |\n|---|---:|---:|\n", parity.peer);
    for pair in &parity.models {
        text += &format!("| {} | {} | {} |\n", pair.model, pair.peer.percent(), pair.kd.percent());
    }
    text
}

/// What the teacher has right of the images made on each student, with its interval.
pub(super) fn defended(report: &Report) -> String {
    let share = |model: &Attacked, name: &str| {
        let attack = model.attacks.iter().find(|attack| attack.main && attack.attack == name)?;
        let target = attack.transfer.iter().find(|target| target.model == "teacher")?;
        let Share { mean, interval: [low, high] } = target.defended.as_ref()?;
        let one = |x: f64| format!("{:.1}", 100.0 * x);
        Some(format!("{} ({} to {})", one(*mean), one(*low), one(*high)))
    };
    let mut text =
        "| images made on the student of | FGSM | PGD, 40 steps |\n|---|---|---|\n".to_owned();
    let models = report.adversarial.iter().flat_map(|all| &all.models);
    for model in models.filter(|model| model.model.starts_with("uiuc")) {
        let cells = ["fgsm", "pgd"].map(|name| share(model, name).unwrap_or("–".into()));
        text += &format!("| T = {} | {} |\n", model.temperature, cells.join(" | "));
    }
    text
}

/// `89 to 95`.
fn range(values: impl Iterator<Item = f64> + Clone) -> String {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    format!("{:.0} to {:.0}", 100.0 * low, 100.0 * high)
}

pub(super) fn percent(fraction: f64) -> String {
    format!("{:.2}", 100.0 * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_a_run_is_read_whatever_else_it_says() {
        let report: Report = serde_json::from_str(
            r#"{"suite": "s", "claims": [
                {"id": "a", "source": "Table 1", "measure": "top1", "training": "t", "model": "m",
                 "paper": 0.9, "ours": {"mean": 0.91, "std": 0.001, "n": 3, "values": []},
                 "selection": "best", "difference": 0.01, "noise": 0.1, "verdict": "reproduced"},
                {"id": "a/errors", "measure": "errors-on:3", "paper": 27.0,
                 "ours": {"mean": 35.0, "std": null, "n": 1}, "selection": "last",
                 "verdict": "worse"}], "models": []}"#,
        )
        .unwrap();
        let rows: Vec<_> = claims(&report).lines().skip(2).map(str::to_owned).collect();
        assert_eq!(
            rows[0],
            "| a | Table 1 | 90.00 | 91.00 ± 0.10 (n = 3) | = reproduced | – | – |"
        );
        assert_eq!(rows[1], "| a/errors |  | 27 | – | – | 35 (n = 1) | ▼ worse |");
    }

    #[test]
    fn means_are_apart_by_their_common_standard_error() {
        let stat = |mean, std| Stat { mean, std: Some(std), n: 4 };
        let pair = Pair { model: "m".into(), peer: stat(0.9, 0.06), kd: stat(0.95, 0.08) };
        assert!((pair.standard_errors() - 1.0).abs() < 1e-9, "0.05 by hypot(0.03, 0.04)");
    }
}
