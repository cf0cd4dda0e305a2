//! The pattern of a table over alpha and temperature, whatever its level: for networks or images that are not the
//! paper's.

use serde::Serialize;

use super::data::{Number, mean, products};
use crate::stats::Stat;

/// What a grid gains over labels alone, taken apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pattern {
    /// Mean gain of all cells, as a fraction of the images.
    pub gain: f64,
    /// Mean of each alpha, less that of all; in the order of [`Grid::alphas`].
    pub of_alpha: Vec<f64>,
    /// Mean of each temperature, less that of all; in the order of [`Grid::temperatures`].
    pub of_temperature: Vec<f64>,
    /// Correlation of the gains with the paper's, from -1 to 1.
    pub correlation: f64,
    /// Cells whose gain has the paper's sign.
    pub signs: usize,
}

/// The cells that the paper and all readings have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grid {
    /// Weights, ascending.
    pub alphas: Vec<f64>,
    /// Temperatures, ascending.
    pub temperatures: Vec<f64>,
    /// The paper's pattern.
    pub paper: Pattern,
    /// Those of the readings, in their order.
    pub readings: Vec<Pattern>,
    #[serde(skip)]
    cells: Vec<Cell>,
    #[serde(skip)]
    baseline: usize,
}

/// A cell, and the place of its number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    alpha: f64,
    temperature: f64,
    place: usize,
}

impl Grid {
    /// The grid among `numbers`; nothing where there are fewer than four cells, or no network of labels alone.
    pub(super) fn of<'a>(
        numbers: &[Number],
        readings: impl Iterator<Item = &'a [Stat]>,
    ) -> Option<Self> {
        let cells: Vec<Cell> = numbers.iter().enumerate().filter_map(cell).collect();
        let first = cells.first().filter(|_| cells.len() > 3)?;
        let prefix = numbers[first.place].id.rsplit_once('/')?.0;
        let baseline = format!("{prefix}/baseline");
        let baseline = numbers.iter().position(|number| number.id == baseline)?;
        let mut grid = Self {
            alphas: sorted(cells.iter().map(|cell| cell.alpha)),
            temperatures: sorted(cells.iter().map(|cell| cell.temperature)),
            paper: Pattern {
                gain: 0.0,
                of_alpha: Vec::new(),
                of_temperature: Vec::new(),
                correlation: 1.0,
                signs: cells.len(),
            },
            readings: Vec::new(),
            cells,
            baseline,
        };
        let paper = grid.gains(|i| numbers[i].paper);
        grid.paper = grid.pattern(&paper, &paper);
        let of = |ours: &[Stat]| grid.pattern(&grid.gains(|i| ours[i].mean), &paper);
        grid.readings = readings.map(of).collect();
        Some(grid)
    }

    /// Number of cells.
    pub(super) fn n_cells(&self) -> usize {
        self.cells.len()
    }

    fn gains(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
        self.cells.iter().map(|cell| value(cell.place) - value(self.baseline)).collect()
    }

    fn pattern(&self, gains: &[f64], paper: &[f64]) -> Pattern {
        let gain = mean(gains);
        let effect = |is: &dyn Fn(&Cell) -> bool| {
            let those = self.cells.iter().zip(gains).filter(|(cell, _)| is(cell));
            mean(&those.map(|(_, gain)| *gain).collect::<Vec<_>>()) - gain
        };
        let same = |a: f64, b: f64| a.total_cmp(&b).is_eq();
        let of_alpha = self.alphas.iter().map(|a| effect(&|cell| same(cell.alpha, *a)));
        let of_t = self.temperatures.iter().map(|t| effect(&|cell| same(cell.temperature, *t)));
        let signs = gains.iter().zip(paper).filter(|(ours, theirs)| *ours * *theirs > 0.0);
        Pattern {
            gain,
            of_alpha: of_alpha.collect(),
            of_temperature: of_t.collect(),
            correlation: correlation(gains, paper),
            signs: signs.count(),
        }
    }
}

/// `.../alpha0.5-t10`.
fn cell((place, number): (usize, &Number)) -> Option<Cell> {
    let (_, name) = number.id.rsplit_once('/')?;
    let (alpha, temperature) = name.strip_prefix("alpha")?.split_once("-t")?;
    Some(Cell { alpha: alpha.parse().ok()?, temperature: temperature.parse().ok()?, place })
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup_by(|a, b| a.total_cmp(b).is_eq());
    values
}

/// Pearson's; 0 where one of the two does not vary.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let scale = products(a, a) * products(b, b);
    if scale > 0.0 { products(a, b) / scale.sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(name: &str, paper: f64) -> Number {
        let id = format!("mnist/student30/{name}");
        Number { id, paper, n_test: 10_000, is_count: false, noise: 0.001, group: String::new() }
    }

    /// Gains 1, 3, 2 and 6 points: their mean is 3, alphas are 2 and 4, temperatures 1.5 and 4.5.
    #[test]
    fn effects_by_hand() {
        let names = ["baseline", "alpha0.1-t1", "alpha0.1-t5", "alpha0.9-t1", "alpha0.9-t5"];
        let paper = [0.90, 0.91, 0.93, 0.92, 0.96];
        let numbers: Vec<Number> =
            names.iter().zip(paper).map(|(name, paper)| number(name, paper)).collect();
        let reading = |values: [f64; 5]| values.map(|value| Stat::of(vec![value]).unwrap());
        // Half of the effects at another level, and all gains turned.
        let half = reading([0.5, 0.505, 0.515, 0.51, 0.53]);
        let turned = reading([0.90, 0.89, 0.87, 0.88, 0.84]);
        let readings = [half, turned];
        let grid = Grid::of(&numbers, readings.iter().map(|ours| &ours[..])).unwrap();
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got}, {want}");
        close(grid.paper.gain, 0.03);
        close(grid.paper.of_alpha[0], -0.01);
        close(grid.paper.of_temperature[1], 0.015);
        close(grid.readings[0].correlation, 1.0);
        close(grid.readings[0].of_alpha[1], 0.005);
        close(grid.readings[1].correlation, -1.0);
        assert_eq!([grid.readings[0].signs, grid.readings[1].signs, grid.n_cells()], [4, 0, 4]);
        assert!(Grid::of(&numbers[..4], std::iter::empty()).is_none(), "three cells");
        assert!(Grid::of(&numbers[1..], std::iter::empty()).is_none(), "nothing to gain over");
    }
}
