//! What the search among the readings of section 4.1 found: a sentence and two tables.

use serde::Deserialize;

use super::results::{Stat, percent};

/// Tables beside the paper's.
const N_SHOWN: usize = 3;

/// Of a run's `report.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    readings: Readings,
}

#[derive(Debug, Deserialize)]
struct Readings {
    n_seeds: usize,
    numbers: Vec<Number>,
    axes: Vec<Axis>,
    /// The likeliest first.
    readings: Vec<Reading>,
    /// Chance that a table of the likeliest is as far from all of them as the paper's is.
    p: f64,
}

#[derive(Debug, Deserialize)]
struct Number {
    id: String,
    paper: f64,
    n_test: usize,
    is_count: bool,
    noise: f64,
}

#[derive(Debug, Deserialize)]
struct Axis {
    name: String,
    choices: Vec<Choice>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    value: String,
    posterior: f64,
    /// Squared distance of the nearest of its readings beyond that of the nearest of all.
    behind: f64,
}

#[derive(Debug, Deserialize)]
struct Reading {
    values: Vec<String>,
    posterior: f64,
    distance: f64,
    ours: Vec<Stat>,
}

impl Number {
    /// Percent, or a count of errors.
    fn text(&self, fraction: f64) -> String {
        match self.is_count {
            true => format!("{:.0}", fraction * self.n_test as f64),
            false => percent(fraction),
        }
    }
}

impl Readings {
    /// `crop_padding 2, alpha_on soft`.
    fn named(&self, reading: &Reading) -> String {
        let pairs = self.axes.iter().zip(&reading.values);
        pairs.map(|(axis, value)| format!("`{}` {value}", axis.name)).collect::<Vec<_>>().join(", ")
    }

    /// The number of the paper that is farthest from `reading`, and the one of any reading that is nearest to it.
    fn farthest(&self, reading: &Reading) -> String {
        let apart = |i: usize, reading: &Reading| {
            (self.numbers[i].paper - reading.ours[i].mean).abs() / self.numbers[i].noise
        };
        let far = |a: &usize, b: &usize| apart(*a, reading).total_cmp(&apart(*b, reading));
        let Some(i) = (0..self.numbers.len()).max_by(far) else { return String::new() };
        let near = |a: &&Reading, b: &&Reading| apart(i, a).total_cmp(&apart(i, b));
        let nearest = self.readings.iter().min_by(near).unwrap_or(reading);
        let number = &self.numbers[i];
        let [paper, ours, nearest] =
            [number.paper, reading.ours[i].mean, nearest.ours[i].mean].map(|x| number.text(x));
        format!(
            "Farthest from it is `{}`: {paper} in the paper, {ours} here, and {nearest} in the reading that comes nearest.",
            number.id
        )
    }
}

/// The likeliest reading, whether it explains the paper's table, and what does so least.
pub(super) fn sentence(Report { readings: all }: &Report) -> String {
    let Some(best) = all.readings.first() else { return String::new() };
    let seeds = if all.n_seeds == 1 { "one seed".into() } else { format!("{} seeds", all.n_seeds) };
    let verdict = if all.p < 0.05 { "none of them explains it" } else { "it explains the table" };
    format!(
        "Of {} ways to read section 4.1, {seeds}, the likeliest ({}) has {} of the probability; of tables that it \
         makes, {} are as far from all readings as the paper's {} numbers: {verdict}. {}\n",
        all.readings.len(),
        all.named(best),
        share(best.posterior),
        share(all.p),
        all.numbers.len(),
        all.farthest(best),
    )
}

/// What the paper's table says of each choice, and its numbers beside those of the likeliest readings.
pub(super) fn tables(Report { readings: all }: &Report) -> String {
    let mut text =
        "| choice | probability | distance behind the best |\n|---|---:|---:|\n".to_owned();
    for (axis, choice) in
        all.axes.iter().flat_map(|axis| axis.choices.iter().map(move |c| (axis, c)))
    {
        let Choice { value, posterior, behind } = choice;
        text += &format!("| `{}` {value} | {} | {behind:.0} |\n", axis.name, share(*posterior));
    }
    let shown = &all.readings[..N_SHOWN.min(all.readings.len())];
    let names: String = shown.iter().map(|reading| format!(" {} |", all.named(reading))).collect();
    text +=
        &format!("\n| | paper | noise |{names}\n|---|---:|---:|{}\n", "---:|".repeat(shown.len()));
    for (i, number) in all.numbers.iter().enumerate() {
        let ours = |reading: &Reading| format!(" {} |", number.text(reading.ours[i].mean));
        let ours: String = shown.iter().map(ours).collect();
        let [paper, noise] = [number.paper, number.noise].map(|value| number.text(value));
        text += &format!("| {} | {paper} | {noise} |{ours}\n", number.id);
    }
    let distances: String =
        shown.iter().map(|reading| format!(" {:.0} |", reading.distance)).collect();
    text + &format!("| distance, of a true reading about {} | | |{distances}\n", all.numbers.len())
}

fn share(p: f64) -> String {
    if p < 0.001 { "less than 0.1 %".into() } else { format!("{:.1} %", 100.0 * p) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(p: f64) -> Report {
        let text = r#"{"readings": {"n_seeds": 1, "p": P, "axes": [{"name": "crop", "bits": 1, "choices": [
            {"value": "0", "posterior": 0.99, "behind": 0}, {"value": "2", "posterior": 0.01, "behind": 9}]}],
            "numbers": [{"id": "a", "paper": 0.975, "n_test": 10000, "is_count": false, "noise": 0.0016},
                {"id": "b", "paper": 0.0092, "n_test": 10000, "is_count": true, "noise": 0.001}],
            "readings": [
                {"values": ["0"], "posterior": 0.99, "distance": 3, "ours": [{"mean": 0.97, "n": 1}, {"mean": 0.01, "n": 1}]},
                {"values": ["2"], "posterior": 0.01, "distance": 12, "ours": [{"mean": 0.96, "n": 1}, {"mean": 0.02, "n": 1}]}]}}"#;
        serde_json::from_str(&text.replace('P', &p.to_string())).unwrap()
    }

    #[test]
    fn the_sentence_names_the_likeliest_and_whether_it_explains_the_table() {
        let text = sentence(&report(0.0005));
        assert!(text.contains("(`crop` 0) has 99.0 % of the probability"), "{text}");
        assert!(text.contains("less than 0.1 % are") && text.contains("none of them"), "{text}");
        let farthest = "Farthest from it is `a`: 97.50 in the paper, 97.00 here, and 97.00 in the";
        assert!(text.contains(farthest), "{text}");
        assert!(sentence(&report(0.2)).contains("20.0 % are as far"));
        assert!(sentence(&report(0.2)).contains("it explains the table"));
    }

    #[test]
    fn numbers_are_percent_or_errors() {
        let text = tables(&report(0.2));
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[3], "| `crop` 2 | 1.0 % | 9 |");
        assert_eq!(rows[7], "| a | 97.50 | 0.16 | 97.00 | 96.00 |");
        assert_eq!(rows[8], "| b | 92 | 10 | 100 | 200 |");
        assert_eq!(rows[9], "| distance, of a true reading about 2 | | | 3 | 12 |");
    }
}
