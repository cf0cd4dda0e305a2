//! One attack on one network, with everything checked that would make its result worthless.

use kd_core::{Error, Result, Stream, argmax};

use crate::{Attack, Examples, Norm, Victim};

/// What an attack made of some examples, one row each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attacked {
    /// The adversarial images, pixels in `[0, 1]`.
    pub pixels: Vec<f32>,
    /// The logits of the examples, `(N, K)` row-major.
    pub clean_logits: Vec<f32>,
    /// The logits of the adversarial images.
    pub logits: Vec<f32>,
    /// Whether the network now errs, or predicts the target where there is one; also where it did
    /// so before.
    pub successes: Vec<bool>,
}

/// By how much rounding may take an image out of its ball.
const TOLERANCE: f64 = 1e-6;

/// Runs `attack` against the network.
///
/// # Errors
/// [`Error::Config`] for settings outside their domain, for examples that no attack can work with
/// (see [`Examples::check`]), for a network whose outputs are probabilities (their gradients
/// vanish, so that it would look robust) or not finite, and when the images are not within the
/// attack's ball and the box `[0, 1]`.
pub fn attack(
    attack: &dyn Attack,
    victim: &Victim<'_>,
    examples: &Examples,
    stream: Stream,
) -> Result<Attacked> {
    attack.check()?;
    examples.check(victim.n_pixels(), victim.n_classes())?;
    if examples.is_empty() {
        return Ok(Attacked::default());
    }
    let clean_logits = victim.logits(&examples.pixels)?;
    refuse_probabilities(&clean_logits, victim.n_classes())?;
    let pixels = attack.run(victim, examples, stream)?;
    check_bounds(attack, examples, &pixels)?;
    let logits = victim.logits(&pixels)?;
    let rows = logits.chunks_exact(victim.n_classes()).enumerate();
    let successes = rows.map(|(i, row)| examples.succeeds(i, argmax(row))).collect();
    Ok(Attacked { pixels, clean_logits, logits, successes })
}

/// Refuses a network of which every output looks like a softmax's.
pub(crate) fn refuse_probabilities(logits: &[f32], n_classes: usize) -> Result<()> {
    let is_distribution = |row: &[f32]| {
        row.iter().all(|p| (0.0..=1.0).contains(p)) && (row.iter().sum::<f32>() - 1.0).abs() < 1e-3
    };
    if logits.chunks_exact(n_classes).all(is_distribution) {
        let reason = "the network outputs probabilities, not logits; leave out its softmax";
        return Err(Error::config("model", reason));
    }
    Ok(())
}

fn check_bounds(attack: &dyn Attack, examples: &Examples, pixels: &[f32]) -> Result<()> {
    if pixels.len() != examples.pixels.len() {
        let expected = format!("{} pixels", examples.pixels.len());
        return Err(Error::shape("adversarial images", expected, &[pixels.len()]));
    }
    let radius = attack.eps().map_or(f64::INFINITY, f64::from);
    let rows = pixels.chunks_exact(pixels.len() / examples.len());
    for (i, image) in rows.enumerate() {
        let inside = image.iter().all(|pixel| (0.0..=1.0).contains(pixel));
        let distance = attack.norm().distance(image, examples.image(i));
        if !inside || distance > radius + TOLERANCE {
            let norm: Norm = attack.norm();
            let reason = format!(
                "example {i} left the ball of radius {radius} ({norm:?} distance {distance}) or \
                 the box [0, 1]"
            );
            return Err(Error::config("attack", reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AttackSpec;
    use crate::attacks::Fgsm;
    use crate::testing::{Mlp, N_PIXELS, bits, examples, successes, victim};

    fn fgsm() -> AttackSpec {
        AttackSpec::Fgsm(Fgsm::default())
    }

    fn refused(spec: &AttackSpec, model: &Mlp, examples: &Examples, what: &str) {
        let error = attack(spec, &victim(model), examples, Stream::new(1)).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }

    #[test]
    fn logits_and_successes_belong_to_the_images() {
        let model = Mlp::small(1);
        let victim = victim(&model);
        let examples = examples(&victim, 20, (0.0, 1.0));
        let attacked = attack(&fgsm(), &victim, &examples, Stream::new(1)).unwrap();
        assert_eq!(attacked.clean_logits, victim.logits(&examples.pixels).unwrap());
        assert_eq!(bits(&attacked.logits), bits(&victim.logits(&attacked.pixels).unwrap()));
        assert_eq!(attacked.successes, successes(&victim, &examples, &attacked.pixels));
        assert!(attacked.successes.contains(&true) && attacked.successes.contains(&false));
    }

    #[test]
    fn no_examples_give_no_images() {
        let model = Mlp::small(1);
        let none = attack(&fgsm(), &victim(&model), &Examples::default(), Stream::new(1)).unwrap();
        assert_eq!(none, Attacked::default());
    }

    #[test]
    fn a_network_with_a_softmax_is_refused() {
        let softmax = |z: &candle_core::Tensor| {
            let exp = z.exp()?;
            exp.broadcast_div(&exp.sum_keepdim(1)?)
        };
        let model = Mlp::small(2).with_output(softmax);
        let examples = examples(&victim(&model), 5, (0.0, 1.0));
        refused(&fgsm(), &model, &examples, "outputs probabilities, not logits");
    }

    #[test]
    fn bad_input_is_refused() {
        let model = Mlp::small(3);
        let good = examples(&victim(&model), 5, (0.0, 1.0));
        let negative = AttackSpec::Fgsm(Fgsm { eps: -0.1, ..Fgsm::default() });
        refused(&negative, &model, &good, "`eps`: -0.1 must be between 0 and 1");
        let bytes = Examples { pixels: vec![255.0; 5 * N_PIXELS], ..good.clone() };
        refused(&fgsm(), &model, &bytes, "pixel 255 of example 0 is outside [0, 1]");
        let far = Examples { targets: Some(vec![9; 5]), ..good.clone() };
        refused(&fgsm(), &model, &far, "a class is not below 5");
        let nan = Mlp::small(3).with_output(|z| z * f64::NAN);
        refused(&fgsm(), &nan, &good, "not finite");
    }

    /// An attack that does not keep its promises.
    struct Broken(f32);

    impl Attack for Broken {
        fn norm(&self) -> Norm {
            Norm::Linf
        }

        fn eps(&self) -> Option<f32> {
            Some(0.1)
        }

        fn run(&self, _: &Victim<'_>, examples: &Examples, _: Stream) -> Result<Vec<f32>> {
            Ok(examples.pixels.iter().map(|pixel| pixel + self.0).collect())
        }
    }

    #[test]
    fn an_attack_of_others_is_run_and_held_to_its_ball() {
        let model = Mlp::small(4);
        let victim = victim(&model);
        let examples = examples(&victim, 3, (0.4, 0.9));
        let attacked = attack(&Broken(0.05), &victim, &examples, Stream::new(1)).unwrap();
        assert_eq!(attacked.pixels.len(), examples.pixels.len());
        let error = attack(&Broken(0.2), &victim, &examples, Stream::new(1)).unwrap_err();
        assert!(error.to_string().contains("left the ball of radius 0.1"), "{error}");
    }

    #[test]
    fn images_outside_of_ball_or_box_are_noticed() {
        let model = Mlp::small(4);
        let victim = victim(&model);
        let examples = examples(&victim, 3, (0.4, 0.95));
        let check = |change: f32| {
            let broken = Broken(change);
            let pixels = broken.run(&victim, &examples, Stream::new(1)).unwrap();
            check_bounds(&broken, &examples, &pixels)
        };
        check(0.0).unwrap();
        check(-0.1).unwrap();
        for change in [-0.10001, 0.1, f32::NAN] {
            assert!(check(change).is_err(), "{change}");
        }
        assert!(check_bounds(&Broken(0.0), &examples, &[0.5]).is_err());
    }
}
