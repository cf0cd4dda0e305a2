//! Table 2 of the paper beside readings of it, by small networks: what the grid gains over labels alone, taken apart.

use std::fmt::Write;

use serde::Deserialize;

/// Of a run's `report.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    readings: Readings,
}

#[derive(Debug, Deserialize)]
struct Readings {
    readings: Vec<Reading>,
    grid: Grid,
}

#[derive(Debug, Deserialize)]
struct Reading {
    values: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Grid {
    alphas: Vec<f64>,
    temperatures: Vec<f64>,
    paper: Pattern,
    /// In the order of the readings.
    readings: Vec<Pattern>,
}

#[derive(Debug, Deserialize)]
struct Pattern {
    gain: f64,
    of_alpha: Vec<f64>,
    of_temperature: Vec<f64>,
    correlation: f64,
    signs: usize,
}

/// The paper's pattern and those of the readings, the most alike first.
pub(super) fn table(Report { readings: all }: &Report) -> String {
    let grid = &all.grid;
    let columns: Vec<String> = (grid.alphas.iter().map(|alpha| format!("alpha {alpha}")))
        .chain(grid.temperatures.iter().map(|temperature| format!("T {temperature}")))
        .collect();
    let mut text = format!(
        "| reading | correlation | signs | gain | {} |\n|---|---:|---:|---:|{}\n",
        columns.join(" | "),
        "---:|".repeat(columns.len())
    );
    let n_cells = grid.alphas.len() * grid.temperatures.len();
    let named = all.readings.iter().map(|reading| reading.values.join(", "));
    let mut rows: Vec<(String, &Pattern)> = named.zip(&grid.readings).collect();
    rows.sort_by(|(_, a), (_, b)| b.correlation.total_cmp(&a.correlation));
    rows.insert(0, ("the paper".into(), &grid.paper));
    for (name, pattern) in rows {
        let Pattern { gain, of_alpha, of_temperature, correlation, signs } = pattern;
        let points = [gain].into_iter().chain(of_alpha).chain(of_temperature);
        let points: Vec<String> = points.map(|x| format!("{:+.2}", 100.0 * x)).collect();
        let row = points.join(" | ");
        let _ = writeln!(text, "| {name} | {correlation:.2} | {signs} of {n_cells} | {row} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_is_first_and_what_is_most_like_it_follows() {
        let pattern = |correlation: f64| {
            format!(
                r#"{{"gain": 0.011, "of_alpha": [-0.002], "of_temperature": [0.001, -0.001], "signs": 2,
                    "correlation": {correlation}}}"#
            )
        };
        let text = format!(
            r#"{{"readings": {{"readings": [{{"values": ["soft"]}},
                {{"values": ["hard"]}}], "grid": {{"alphas": [0.5], "temperatures": [1, 5], "paper": {},
                "readings": [{}, {}]}}}}}}"#,
            pattern(1.0),
            pattern(-0.25),
            pattern(0.5)
        );
        let text = table(&serde_json::from_str(&text).unwrap());
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], "| reading | correlation | signs | gain | alpha 0.5 | T 1 | T 5 |");
        assert_eq!(rows[2], "| the paper | 1.00 | 2 of 2 | +1.10 | -0.20 | +0.10 | -0.10 |");
        assert!(rows[3].starts_with("| hard | 0.50 |") && rows[4].starts_with("| soft | -0.25 |"));
    }
}
