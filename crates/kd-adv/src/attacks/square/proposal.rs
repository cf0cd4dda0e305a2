//! Random changes of squares.

use kd_core::rng::Rng;

use crate::Norm;

/// Proposes images at the full distance from an example.
pub(super) struct Proposer {
    /// `linf` or `l2`.
    pub(super) norm: Norm,
    /// The distance.
    pub(super) eps: f32,
    /// `[C, H, W]`.
    pub(super) image_shape: [usize; 3],
}

impl Proposer {
    /// The first image. L-infinity: vertical stripes of one pixel, each channel of each at `eps` or
    /// `-eps`; L2: a grid of patterns with random signs.
    pub(super) fn start(&self, image: &[f32], rng: &mut Rng) -> Vec<f32> {
        let mut proposal = image.to_vec();
        if self.norm == Norm::L2 {
            let change = self.grid(rng);
            self.apply(&mut proposal, image, &change);
        } else {
            let [_, height, width] = self.image_shape;
            for plane in proposal.chunks_exact_mut(height * width) {
                let signs: Vec<f32> = (0..width).map(|_| sign(rng)).collect();
                let pixels = plane.iter_mut().zip(signs.iter().cycle());
                pixels.for_each(|(x, sign)| *x = (*x + sign * self.eps).clamp(0.0, 1.0));
            }
        }
        proposal
    }

    /// `best` with a random square changed whose area is the share `p` of the image.
    pub(super) fn propose(&self, image: &[f32], best: &[f32], p: f32, rng: &mut Rng) -> Vec<f32> {
        let [_, height, width] = self.image_shape;
        let side = (p * (height * width) as f32).sqrt().round() as usize;
        if self.norm == Norm::L2 {
            // Odd, so that the pattern has a center.
            let side = (side.max(3) | 1).min(height).min(width);
            self.propose_l2(image, best, side, rng)
        } else {
            let side = side.max(1).min(height).min(width);
            self.propose_linf(image, best, side, rng)
        }
    }

    /// Each channel of a square at `eps` or `-eps`. Where that changes nothing, the other way round
    /// (the authors' first code draws again), so that no query is wasted.
    fn propose_linf(&self, image: &[f32], best: &[f32], side: usize, rng: &mut Rng) -> Vec<f32> {
        let window = self.window(side, rng);
        let signs: Vec<f32> = (0..self.image_shape[0]).map(|_| sign(rng)).collect();
        let painted = |factor: f32| {
            let mut proposal = best.to_vec();
            for (channel, sign) in signs.iter().enumerate() {
                for i in self.pixels(&window, channel) {
                    proposal[i] = (image[i] + factor * sign * self.eps).clamp(0.0, 1.0);
                }
            }
            proposal
        };
        let proposal = painted(1.0);
        if proposal == best { painted(-1.0) } else { proposal }
    }

    /// Moves the change of one square, and the part of `eps` that the box took away, to another
    /// square, where a pattern with a random sign for each channel is added to what is there.
    fn propose_l2(&self, image: &[f32], best: &[f32], side: usize, rng: &mut Rng) -> Vec<f32> {
        let mut change: Vec<f32> = best.iter().zip(image).map(|(x, c)| x - c).collect();
        let (here, there) = (self.window(side, rng), self.window(side, rng));
        let pattern = pattern(side, rng.uniform() < 0.5);
        let n_channels = self.image_shape[0];
        let unspent = (square(self.eps) - change.iter().copied().map(square).sum::<f64>()).max(0.0);
        for channel in 0..n_channels {
            let old: Vec<f32> = self.pixels(&here, channel).map(|i| change[i]).collect();
            let mut moved = old.iter().copied().map(square).sum::<f64>();
            let scale = 1.0 / (1e-12 + moved.sqrt()) as f32;
            for i in self.pixels(&there, channel) {
                if !self.is_in(&here, i) {
                    moved += square(change[i]);
                }
                change[i] = 0.0;
            }
            let sign = sign(rng);
            let new = pattern.iter().zip(&old).map(|(a, b)| sign * a + scale * b).collect();
            let new = scaled_to(new, (unspent / n_channels as f64 + moved).sqrt());
            self.pixels(&here, channel).zip(new).for_each(|(i, value)| change[i] = value);
        }
        let mut proposal = image.to_vec();
        self.apply(&mut proposal, image, &change);
        proposal
    }

    /// Adds `change`, scaled to length `eps`, to `proposal`, within ball and box.
    fn apply(&self, proposal: &mut [f32], image: &[f32], change: &[f32]) {
        Norm::L2.step(proposal, change, self.eps);
        Norm::L2.project(proposal, image, self.eps);
    }

    /// About 5 x 5 patterns side by side.
    fn grid(&self, rng: &mut Rng) -> Vec<f32> {
        let [n_channels, height, width] = self.image_shape;
        let side = (height.min(width) / 5).max(1);
        let (n_down, n_across) = (height / side, width / side);
        let (top, left) = ((height - n_down * side) / 2, (width - n_across * side) / 2);
        let mut change = vec![0.0; n_channels * height * width];
        for tile in 0..n_down * n_across {
            let (top, left) = (top + tile / n_across * side, left + tile % n_across * side);
            let window = Window { top, left, side };
            let pattern = pattern(side, rng.uniform() < 0.5);
            for channel in 0..n_channels {
                let sign = sign(rng);
                let pixels = self.pixels(&window, channel).zip(&pattern);
                pixels.for_each(|(i, value)| change[i] = sign * value);
            }
        }
        change
    }

    /// A square anywhere in the image.
    fn window(&self, side: usize, rng: &mut Rng) -> Window {
        let [_, height, width] = self.image_shape;
        let mut below = |n: usize| rng.below(n as u32 + 1) as usize;
        Window { top: below(height - side), left: below(width - side), side }
    }

    /// Positions of a window's pixels in one channel, row by row.
    fn pixels(&self, window: &Window, channel: usize) -> impl Iterator<Item = usize> + use<> {
        let [_, height, width] = self.image_shape;
        let Window { top, left, side } = *window;
        let first = (channel * height + top) * width + left;
        (0..side * side).map(move |i| first + i / side * width + i % side)
    }

    /// Whether the pixel at this position is in the window, whatever its channel.
    fn is_in(&self, window: &Window, position: usize) -> bool {
        let [_, height, width] = self.image_shape;
        let (row, column) = (position / width % height, position % width);
        let side = window.side;
        (window.top..window.top + side).contains(&row)
            && (window.left..window.left + side).contains(&column)
    }
}

/// A square of pixels, in all channels.
struct Window {
    top: usize,
    left: usize,
    side: usize,
}

/// Two bumps of opposite sign one above the other, side by side where `transposed`; of length 1.
fn pattern(side: usize, transposed: bool) -> Vec<f32> {
    let half = side / 2;
    let mut values = bump(half, side);
    values.extend(bump(side - half, side).iter().map(|value| -value));
    let values = scaled_to(values, 1.0);
    if transposed {
        (0..side * side).map(|i| values[i % side * side + i / side]).collect()
    } else {
        values
    }
}

/// `sum_{k = m}^{M} 1 / (k + 1)^2` at ring m around the center, M the last ring; of length 1.
fn bump(height: usize, width: usize) -> Vec<f32> {
    let (row, column) = (height / 2, width / 2);
    let last = row.max(column);
    let value = |i: usize| {
        let ring = (i / width).abs_diff(row).max((i % width).abs_diff(column));
        (ring..=last).map(|k| 1.0 / square((k + 1) as f32)).sum::<f64>() as f32
    };
    scaled_to((0..height * width).map(value).collect(), 1.0)
}

/// `values` with this Euclidean length; zeros stay.
fn scaled_to(mut values: Vec<f32>, length: f64) -> Vec<f32> {
    let scale = (length / Norm::L2.length(&values).max(1e-12)) as f32;
    values.iter_mut().for_each(|value| *value *= scale);
    values
}

fn square(x: f32) -> f64 {
    f64::from(x).powi(2)
}

fn sign(rng: &mut Rng) -> f32 {
    if rng.uniform() < 0.5 { -1.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kd_core::Stream;

    const SHAPE: [usize; 3] = [2, 11, 14];

    fn proposer(norm: Norm, image_shape: [usize; 3]) -> Proposer {
        Proposer { norm, eps: 0.2, image_shape }
    }

    fn gray() -> Vec<f32> {
        vec![0.5; SHAPE.iter().product()]
    }

    #[test]
    fn the_first_image_of_linf_has_vertical_stripes() {
        let start = proposer(Norm::Linf, SHAPE).start(&gray(), &mut Stream::new(1).rng());
        for plane in start.chunks_exact(11 * 14) {
            assert!(plane.chunks_exact(14).all(|row| row == &plane[..14]));
            assert!(plane.iter().all(|x| ((x - 0.5).abs() - 0.2).abs() < 1e-6));
            assert!(plane.iter().any(|x| *x > 0.5) && plane.iter().any(|x| *x < 0.5));
        }
    }

    #[test]
    fn linf_changes_one_square() {
        let proposer = proposer(Norm::Linf, SHAPE);
        let image = gray();
        for seed in 0..50 {
            let mut rng = Stream::new(seed).rng();
            // 11 * 14 * 0.104 = 16: 4 x 4.
            let best = proposer.start(&image, &mut rng);
            let next = proposer.propose(&image, &best, 0.104, &mut rng);
            let differs = |i: &usize| next[*i].to_bits() != best[*i].to_bits();
            let changed: Vec<usize> = (0..next.len()).filter(differs).collect();
            assert!(!changed.is_empty() && changed.len() <= 32);
            let rows: Vec<usize> = changed.iter().map(|i| i / 14 % 11).collect();
            let columns: Vec<usize> = changed.iter().map(|i| i % 14).collect();
            for at in [rows, columns] {
                assert!(at.iter().max().unwrap() - at.iter().min().unwrap() < 4);
            }
            assert!(next.iter().all(|x| ((x - 0.5).abs() - 0.2).abs() < 1e-6));
        }
    }

    #[test]
    fn no_query_of_one_channel_is_wasted() {
        let proposer = proposer(Norm::Linf, [1, 3, 3]);
        let image = [0.5; 9];
        let mut rng = Stream::new(2).rng();
        let mut best = proposer.start(&image, &mut rng);
        for _ in 0..30 {
            let next = proposer.propose(&image, &best, 0.1, &mut rng);
            assert_ne!(next, best);
            best = next;
        }
    }

    #[test]
    fn bumps_by_hand() {
        // Rings 1 and 0 around the middle of three: 1/4 and 1 + 1/4.
        let length = (2.0_f32 / 16.0 + 25.0 / 16.0).sqrt();
        let want = [0.25 / length, 1.25 / length, 0.25 / length];
        assert!(bump(1, 3).iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6));
        assert!(bump(0, 3).is_empty());
    }

    #[test]
    fn patterns_have_two_signs_and_length_one() {
        for side in [1, 2, 3, 5, 8] {
            let upright = pattern(side, false);
            assert!((Norm::L2.length(&upright) - 1.0).abs() < 1e-6);
            assert!(upright[..side / 2 * side].iter().all(|v| *v > 0.0), "{side}");
            assert!(upright[side / 2 * side..].iter().all(|v| *v < 0.0), "{side}");
            let turned = pattern(side, true);
            let back: Vec<f32> =
                (0..side * side).map(|i| turned[i % side * side + i / side]).collect();
            assert_eq!(back, upright);
        }
    }

    #[test]
    fn l2_spends_all_of_eps_and_changes_two_squares() {
        let proposer = proposer(Norm::L2, SHAPE);
        let image = gray();
        let mut rng = Stream::new(3).rng();
        let mut best = proposer.start(&image, &mut rng);
        for _ in 0..50 {
            assert!((Norm::L2.distance(&best, &image) - 0.2).abs() < 1e-5);
            // 11 * 14 * 0.06 = 9.2: 3 x 3, in two places and two channels.
            let next = proposer.propose(&image, &best, 0.06, &mut rng);
            let changed = next.iter().zip(&best).filter(|(a, b)| (*a - *b).abs() > 1e-6).count();
            assert!((1..=36).contains(&changed), "{changed}");
            best = next;
        }
    }

    #[test]
    fn proposals_stay_in_the_ball_and_the_box() {
        for shape in [SHAPE, [1, 1, 1], [3, 2, 7], [1, 28, 28]] {
            let mut rng = Stream::new(4).rng();
            let n: usize = shape.iter().product();
            let image: Vec<f32> =
                (0..n).map(|_| rng.uniform_in(-0.3, 1.3).clamp(0.0, 1.0)).collect();
            for norm in [Norm::Linf, Norm::L2] {
                let proposer = proposer(norm, shape);
                let mut best = proposer.start(&image, &mut rng);
                for p in [0.8, 0.4, 0.1, 0.01, 0.001] {
                    best = proposer.propose(&image, &best, p, &mut rng);
                    assert!(norm.distance(&best, &image) <= 0.2 + 1e-6);
                    assert!(best.iter().all(|x| (0.0..=1.0).contains(x)));
                }
            }
        }
    }
}
