//! What fills an area: two colors, mixed by a pattern.

use kd_core::rng::Rng;

use super::{Color, EXTENT};
use crate::synthetic::math::{Point, about, between, ease, mix, turn};

/// Number of kinds of pattern that [`Surface::of_kind`] knows; clouds have two numbers.
const N_KINDS: u32 = 5;

/// Two colors and how they are mixed.
pub(in crate::synthetic) struct Surface {
    pub(super) colors: [Color; 2],
    pub(super) pattern: Pattern,
}

pub(super) enum Pattern {
    /// Along a direction, per unit.
    Gradient(Point),
    /// Stripes along a direction, per unit in periods.
    Stripes(Point),
    /// Squares with sides along and across a direction.
    Checks(Point),
    /// Smooth noise of two sizes.
    Clouds([Lattice; 2]),
}

impl Surface {
    /// The second color differs from `color` by `amplitude` at most in each channel.
    pub(in crate::synthetic) fn new(color: Color, amplitude: f32, rng: &mut Rng) -> Self {
        let other = color.map(|c| c + about(amplitude, rng));
        let direction = direction(rng);
        let kind = rng.below(N_KINDS);
        Self { colors: [color, other], pattern: Pattern::new(kind, direction, rng) }
    }

    /// The pattern of this `kind` (0 a gradient, 1 stripes, 2 checks, above clouds), between two
    /// colors.
    pub(in crate::synthetic) fn of_kind(kind: u32, colors: [Color; 2], rng: &mut Rng) -> Self {
        let direction = direction(rng);
        Self { colors, pattern: Pattern::new(kind, direction, rng) }
    }

    pub(super) fn color(&self, point: Point) -> Color {
        let t = self.pattern.value(point);
        std::array::from_fn(|k| mix(self.colors[0][k], self.colors[1][k], t))
    }
}

impl Pattern {
    fn new(kind: u32, direction: Point, rng: &mut Rng) -> Self {
        let scaled = |range, rng: &mut Rng| {
            let scale = 1.0 / between(range, rng);
            direction.map(|d| d * scale)
        };
        match kind {
            0 => Self::Gradient(scaled([20.0, 40.0], rng)),
            1 => Self::Stripes(scaled([3.0, 8.0], rng)),
            2 => Self::Checks(scaled([3.0, 8.0], rng)),
            _ => Self::Clouds([Lattice::new(5.0, rng), Lattice::new(11.0, rng)]),
        }
    }

    fn value(&self, [x, y]: Point) -> f32 {
        match self {
            Self::Gradient([dx, dy]) => (x * dx + y * dy + 0.5).clamp(0.0, 1.0),
            Self::Stripes([dx, dy]) => wave(x * dx + y * dy),
            Self::Checks([dx, dy]) => {
                let (a, b) = (wave(x * dx + y * dy), wave(y * dx - x * dy));
                a + b - 2.0 * a * b
            }
            Self::Clouds([large, small]) => 1.4 * large.at([x, y]) + 0.6 * small.at([x, y]) - 0.5,
        }
    }
}

/// A smooth wave of period 1 between 0 and 1.
fn wave(t: f32) -> f32 {
    ease((2.0 * (t - t.floor()) - 1.0).abs())
}

/// A direction, of length 1.
pub(super) fn direction(rng: &mut Rng) -> Point {
    let [cos, sin] = turn(about(1.0, rng));
    if rng.below(2) == 0 { [cos, sin] } else { [-cos, -sin] }
}

/// Random numbers in `[0, 1]` on a lattice over the image, interpolated smoothly.
pub(super) struct Lattice {
    cells: f32,
    values: Vec<f32>,
}

impl Lattice {
    fn new(cells: f32, rng: &mut Rng) -> Self {
        let n = (cells as usize + 1) * (cells as usize + 1);
        Self { cells, values: (0..n).map(|_| rng.uniform()).collect() }
    }

    fn at(&self, point: Point) -> f32 {
        let [(left, right), (top, down)] = point.map(|v| {
            let place = ((v / EXTENT + 0.5) * self.cells).clamp(0.0, self.cells - 0.001);
            (place as usize, ease(place - place.floor()))
        });
        let row = |row: usize| {
            let from = row * (self.cells as usize + 1) + left;
            mix(self.values[from], self.values[from + 1], right)
        };
        mix(row(top), row(top + 1), down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::math::tests::close;

    #[test]
    fn patterns_by_hand() {
        let values = [0.0, 0.25, 0.5, 0.75, 1.0, -1.5].map(wave);
        [1.0, 0.5, 0.0, 0.5, 1.0, 0.0].iter().zip(values).for_each(|(w, v)| close(v, *w));
        close(Pattern::Gradient([0.1, 0.0]).value([2.0, 9.0]), 0.7);
        let checks = Pattern::Checks([0.5, 0.0]);
        close(checks.value([0.0, 0.0]), 0.0);
        close(checks.value([1.0, 0.0]), 1.0);
        close(checks.value([1.0, 1.0]), 0.0);
        let lattice = Lattice { cells: 1.0, values: vec![0.0, 1.0, 1.0, 0.0] };
        close(lattice.at([0.0, 0.0]), 0.5);
        close(lattice.at([-16.0, -16.0]), 0.0);
    }
}
