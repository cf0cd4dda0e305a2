//! What an attack came to, image by image.
//!
//! Key decision: nothing that an attack reports is believed. Its images are classified again, as
//! they are and rounded to the bytes that a picture file would hold.

use kd_core::{Error, Result, argmax};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Examples, Norm, Victim};

/// One image under one attack, seen by one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Position of the image in its data set.
    pub index: u32,
    /// Its true class.
    pub label: u32,
    /// The prediction before the attack.
    pub clean: u32,
    /// The prediction after it.
    pub after: u32,
    /// The prediction after it, with the pixels rounded to 8 bits.
    pub rounded: u32,
    /// Distance of the adversarial image from the clean one, in the attack's norm.
    pub distance: f64,
    /// Whether a correct prediction became what the attack was after: the target where there is
    /// one, else any error.
    pub succeeded: bool,
}

impl Outcome {
    /// Whether the network is right before the attack.
    pub fn is_correct(&self) -> bool {
        self.clean == self.label
    }

    /// Whether it is right before and after.
    pub fn is_robust(&self) -> bool {
        self.is_correct() && self.after == self.label
    }

    /// Whether it is right before, and after on rounded pixels.
    pub fn is_robust_rounded(&self) -> bool {
        self.is_correct() && self.rounded == self.label
    }
}

/// What `victim`, the network that was attacked or any other, makes of the images `adversarial`,
/// one row an example.
///
/// # Errors
/// [`Error::Shape`] when the rows are not the examples'; as [`Examples::check`] and
/// [`Victim::logits`].
pub fn observe(
    victim: &Victim<'_>,
    norm: Norm,
    examples: &Examples,
    adversarial: &[f32],
) -> Result<Vec<Outcome>> {
    examples.check(victim.n_pixels(), victim.n_classes())?;
    if adversarial.len() != examples.pixels.len() {
        let expected = format!("{} pixels", examples.pixels.len());
        return Err(Error::shape("adversarial images", expected, &[adversarial.len()]));
    }
    let rounded: Vec<f32> =
        adversarial.par_iter().map(|&pixel| f32::from(round_to_byte(pixel)) / 255.0).collect();
    let clean = predictions(victim, &examples.pixels)?;
    let after = predictions(victim, adversarial)?;
    let rounded = predictions(victim, &rounded)?;
    let images: Vec<&[f32]> = adversarial.chunks_exact(victim.n_pixels()).collect();
    let outcome = |i: usize| Outcome {
        index: examples.indices[i],
        label: examples.labels[i],
        clean: clean[i],
        after: after[i],
        rounded: rounded[i],
        distance: norm.distance(images[i], examples.image(i)),
        succeeded: clean[i] == examples.labels[i] && examples.succeeds(i, after[i] as usize),
    };
    Ok((0..examples.len()).into_par_iter().map(outcome).collect())
}

/// The rows of the examples that `victim` classifies correctly.
///
/// # Errors
/// As [`Examples::check`] and [`Victim::logits`].
pub fn correct_rows(victim: &Victim<'_>, examples: &Examples) -> Result<Vec<usize>> {
    examples.check(victim.n_pixels(), victim.n_classes())?;
    let predictions = predictions(victim, &examples.pixels)?;
    Ok((0..examples.len()).filter(|&i| predictions[i] == examples.labels[i]).collect())
}

/// The nearest byte: what a picture file keeps of a pixel in `[0, 1]`. (Cutting off instead of
/// rounding, as some libraries do, moves every pixel toward 0.)
pub(crate) fn round_to_byte(pixel: f32) -> u8 {
    (pixel * 255.0).round() as u8
}

fn predictions(victim: &Victim<'_>, pixels: &[f32]) -> Result<Vec<u32>> {
    let logits = victim.logits(pixels)?;
    Ok(logits.chunks_exact(victim.n_classes()).map(|row| argmax(row) as u32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Mlp, N_PIXELS, examples, victim};

    /// Class 1 where the first pixel is above one half.
    fn threshold() -> Mlp {
        let mut weight = vec![0.0; 2 * N_PIXELS];
        weight[N_PIXELS] = 2.0;
        Mlp::linear(&weight, &[1.0, 0.0])
    }

    /// Three images of zeros but for the first pixel.
    fn three(first: [f32; 3], labels: [u32; 3]) -> Examples {
        let mut pixels = vec![0.0; 3 * N_PIXELS];
        (0..3).for_each(|i| pixels[i * N_PIXELS] = first[i]);
        Examples { pixels, labels: labels.into(), indices: vec![5, 6, 7], targets: None }
    }

    #[test]
    fn outcomes_by_hand() {
        let model = threshold();
        let victim = victim(&model);
        // The second is misclassified from the beginning.
        let clean = three([0.25, 0.25, 0.75], [0, 1, 1]);
        let adversarial = three([0.75, 0.75, 127.4 / 255.0], [0, 1, 1]).pixels;
        let outcomes = observe(&victim, Norm::Linf, &clean, &adversarial).unwrap();
        let rows: Vec<_> =
            outcomes.iter().map(|o| (o.index, o.clean, o.after, o.rounded)).collect();
        assert_eq!(rows, [(5, 0, 1, 1), (6, 0, 1, 1), (7, 1, 0, 0)]);
        let succeeded: Vec<bool> = outcomes.iter().map(|o| o.succeeded).collect();
        assert_eq!(succeeded, [true, false, true]);
        assert!((outcomes[0].distance - 0.5).abs() < 1e-7);
        assert_eq!(correct_rows(&victim, &clean).unwrap(), [0, 2]);

        // One half is 127.5 / 255: class 0 at equal logits, but rounded up it is class 1 again.
        let adversarial = three([0.25, 0.25, 0.5], [0, 1, 1]).pixels;
        let undone = observe(&victim, Norm::Linf, &clean, &adversarial).unwrap();
        assert!(undone[0].is_robust() && !undone[1].is_robust() && !undone[2].is_robust());
        assert!(undone[2].succeeded && undone[2].is_robust_rounded());
    }

    #[test]
    fn a_targeted_attack_succeeds_only_at_its_target() {
        let model = Mlp::small(3);
        let victim = victim(&model);
        let mut clean = examples(&victim, 2, (0.2, 0.8));
        let other = examples(&victim, 30, (0.0, 1.0));
        let found = (0..30).find(|&i| other.labels[i] != clean.labels[0]).unwrap();
        let reached = other.labels[found];
        let missed = (0..5).find(|c| ![clean.labels[0], reached].contains(c)).unwrap();
        let adversarial = [other.image(found), clean.image(1)].concat();
        for (target, want) in [(reached, true), (missed, false)] {
            clean.targets = Some(vec![target, (clean.labels[1] + 1) % 5]);
            let outcomes = observe(&victim, Norm::L2, &clean, &adversarial).unwrap();
            assert_eq!((outcomes[0].succeeded, outcomes[0].is_robust()), (want, false));
        }
    }

    #[test]
    fn bytes_are_rounded_not_cut() {
        let bytes = [0.0, 0.9 / 255.0, 127.4 / 255.0, 1.0].map(round_to_byte);
        assert_eq!(bytes, [0, 1, 127, 255]);
        for byte in 0..=255u8 {
            assert_eq!(round_to_byte(f32::from(byte) / 255.0), byte);
        }
    }

    #[test]
    fn rows_that_are_not_the_examples_are_refused() {
        let model = threshold();
        let victim = victim(&model);
        let result = observe(&victim, Norm::Linf, &three([0.0; 3], [0; 3]), &[0.0; 5]);
        assert!(matches!(result, Err(Error::Shape { .. })));
    }
}
