//! Mixtures of two images.
//!
//! Key decision: the partner and its share are functions of version and image, as crops are, so that what a
//! teacher says of a mixture can be kept. Of a pair the image itself has the larger share: over random
//! pairs this gives the same mixtures as a share from 0 to 1, and the image's label stays the better one.

use kd_core::rng::Rng;
use kd_core::{Result, in_range};
use serde::{Deserialize, Serialize};

/// `lambda x_i + (1 - lambda) x_j` in place of each image `x_i`, with a random partner `x_j`, which may be the
/// image itself; `lambda = max(b, 1 - b)`, `b` of the distribution Beta(alpha, alpha). Labels are not
/// mixed: such images are for soft targets alone.
///
/// Source: Zhang et al. 2018 (arXiv:1710.09412); for distillation alone, at `alpha` = 1, Beyer et al. 2022
/// (arXiv:2106.05237).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mixup {
    /// Both parameters of the distribution, in `[0.05, 1]`; 1 makes all shares equally likely.
    pub alpha: f32,
}

impl Default for Mixup {
    fn default() -> Self {
        Self { alpha: 1.0 }
    }
}

/// The other image of a mixture, and the share of the first one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    pub(crate) partner: u32,
    pub(crate) lambda: f32,
}

impl Mixup {
    pub(crate) fn check(&self) -> Result<()> {
        in_range("augment.mixup.alpha", self.alpha, 0.05, 1.0)
    }

    /// One of `n` images, and how the two are mixed.
    pub(crate) fn pair(&self, n: usize, rng: &mut Rng) -> Pair {
        let partner = rng.below(n as u32);
        let share = beta(f64::from(self.alpha), rng);
        Pair { partner, lambda: share.max(1.0 - share) as f32 }
    }
}

impl Pair {
    /// Mixes the pixels of the partner into `pixels`.
    pub(crate) fn mix(self, pixels: &mut [f32], partner: &[f32]) {
        let rest = 1.0 - self.lambda;
        pixels.iter_mut().zip(partner).for_each(|(x, y)| *x = self.lambda * *x + rest * y);
    }
}

/// A number of the distribution Beta(alpha, alpha), for `alpha` up to 1 (Johnk 1964): of two powers of
/// uniform numbers with a sum of 1 at most, the share of the first.
fn beta(alpha: f64, rng: &mut Rng) -> f64 {
    loop {
        let mut power = || f64::from(rng.uniform()).powf(1.0 / alpha);
        let (x, y) = (power(), power());
        if x + y > 0.0 && x + y <= 1.0 {
            return x / (x + y);
        }
    }
}

#[cfg(test)]
mod tests {
    use kd_core::Stream;

    use super::*;

    #[test]
    fn a_mixture_by_hand() {
        let mut pixels = [0.0, 1.0, 0.5];
        Pair { partner: 1, lambda: 0.75 }.mix(&mut pixels, &[1.0, 1.0, 0.0]);
        assert_eq!(pixels.map(f32::to_bits), [0.25f32, 1.0, 0.375].map(f32::to_bits));
    }

    #[test]
    fn shares_have_the_moments_of_their_distribution() {
        // Var b = 1 / (4 (2 alpha + 1)); partners are spread evenly.
        for (alpha, want) in [(1.0f32, 1.0 / 12.0), (0.2, 1.0 / 5.6)] {
            let mixup = Mixup { alpha };
            assert!(mixup.check().is_ok());
            let (mut square, mut counts) = (0.0, [0; 4]);
            for i in 0..20_000 {
                let Pair { partner, lambda } = mixup.pair(4, &mut Stream::new(1).number(i).rng());
                assert!((0.5..=1.0).contains(&lambda));
                square += (f64::from(lambda) - 0.5).powi(2) / 20_000.0;
                counts[partner as usize] += 1;
            }
            assert!((square - want).abs() < 0.003, "{alpha}: {square}, want {want}");
            assert!(counts.iter().all(|n| (4800..5200).contains(n)), "{counts:?}");
        }
        for alpha in [0.0, 1.1, f32::NAN] {
            assert!(Mixup { alpha }.check().is_err());
        }
    }
}
