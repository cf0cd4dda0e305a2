//! Small numbers for drawing.
//!
//! Key decision: only `+ - * /`, square roots and comparisons, which IEEE 754 defines to the last
//! bit, so that an image is the same bytes on every machine. (`sin`, `exp` and the like are not.)

use kd_core::rng::Rng;

/// A point `[x, y]`, y downward.
pub(super) type Point = [f32; 2];

/// Uniform between two numbers.
pub(super) fn between([low, high]: [f32; 2], rng: &mut Rng) -> f32 {
    rng.uniform_in(low, high)
}

/// Uniform in plus or minus `range`.
pub(super) fn about(range: f32, rng: &mut Rng) -> f32 {
    rng.uniform_in(-range, range)
}

/// Nearly normal, of variance 1: four uniform numbers, each of variance 1/12.
pub(super) fn bell(rng: &mut Rng) -> f32 {
    (rng.uniform() + rng.uniform() + rng.uniform() + rng.uniform() - 2.0) * 1.732_050_8
}

/// From `a` at `t` = 0 to `b` at 1.
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + t * (b - a)
}

/// Smooth step: 0 and 1 stay, flat at both ends.
pub(super) fn ease(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// Cosine and sine of the angle whose half has this tangent.
pub(super) fn turn(half: f32) -> [f32; 2] {
    let square = half * half;
    [(1.0 - square) / (1.0 + square), 2.0 * half / (1.0 + square)]
}

/// Square of the distance of `point` from the straight piece between two points.
pub(super) fn distance_squared([a, b]: [Point; 2], point: Point) -> f32 {
    let along = [b[0] - a[0], b[1] - a[1]];
    let to = [point[0] - a[0], point[1] - a[1]];
    let length = along[0] * along[0] + along[1] * along[1];
    let t = ((to[0] * along[0] + to[1] * along[1]) / length.max(1e-12)).clamp(0.0, 1.0);
    let off = [to[0] - t * along[0], to[1] - t * along[1]];
    off[0] * off[0] + off[1] * off[1]
}

/// The sum of two uniform numbers out of one random word: a triangle between -1 and 1.
pub(super) fn triangle(word: u32) -> f32 {
    ((word & 0xffff) as f32 + (word >> 16) as f32) / 65_535.0 - 1.0
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::synthetic) fn close(got: f32, want: f32) {
        assert!((got - want).abs() < 1e-6, "got {got}, want {want}");
    }

    #[test]
    fn distances_by_hand() {
        let piece = [[0.0, 0.0], [4.0, 0.0]];
        close(distance_squared(piece, [2.0, 3.0]), 9.0);
        close(distance_squared(piece, [7.0, 4.0]), 25.0);
        close(distance_squared([[1.0, 1.0]; 2], [1.0, 3.0]), 4.0);
    }

    #[test]
    fn a_turn_is_a_rotation() {
        for (half, want) in [(0.0, [1.0, 0.0]), (1.0, [0.0, 1.0]), (0.5, [0.6, 0.8])] {
            let [cos, sin] = turn(half);
            close(cos, want[0]);
            close(sin, want[1]);
        }
    }

    #[test]
    fn noise_is_symmetric() {
        close(triangle(0), -1.0);
        close(triangle(u32::MAX), 1.0);
        close(triangle(0x8000_7fff), 0.0);
    }
}
