//! Adversarial training, through the contract that the training loop knows.

use candle_core::Tensor;
use kd_core::{Batch, Classifier, Error, Perturb, Result, Stream};

use crate::{Attack, Examples, Victim};

/// Attacks the student with each batch before it learns from it, so that it minimizes
/// `E[max_{|d| <= eps} J(x + d, y)]` (Madry et al. 2018, arXiv:1706.06083, eq. 2.1).
///
/// The usual attacks are PGD-7, `{ kind = "pgd", eps = 0.3, step_size = 0.075, n_steps = 7 }` (steps
/// of `eps / 4`), and at two passes a step instead of eight FGSM from a random start,
/// `{ kind = "fgsm", eps = 0.3, random_start = true }` (Wong, Rice and Kolter 2020,
/// arXiv:2001.03994).
///
/// The student is attacked in evaluation mode: without dropout, batch norm with its running
/// statistics. So an image's perturbation depends on the student, the image, its position in the
/// data set and the stream, never on its batch mates.
pub struct AdversarialTraining {
    attack: Box<dyn Attack>,
}

impl AdversarialTraining {
    /// Training against `attack`.
    ///
    /// # Errors
    /// [`Error::Config`] for settings of the attack outside their domain.
    pub fn new(attack: impl Attack + 'static) -> Result<Self> {
        attack.check()?;
        Ok(Self { attack: Box::new(attack) })
    }
}

impl Perturb for AdversarialTraining {
    /// # Errors
    /// [`Error::Config`] when the images are no pixels in `[0, 1]`, or a logit is not finite.
    fn perturb(&self, model: &dyn Classifier, batch: &Batch, stream: Stream) -> Result<Tensor> {
        let &[_, channels, height, width] = batch.images.dims() else {
            return Err(Error::shape("images", "(N, C, H, W)", batch.images.dims()));
        };
        let victim = Victim::new(model, [channels, height, width], batch.images.device())?;
        let examples = Examples {
            pixels: pixels(&batch.images)?,
            labels: batch.labels.to_vec1()?,
            indices: batch.indices.clone(),
            targets: None,
        };
        examples.check(victim.n_pixels(), victim.n_classes())?;
        victim.images(&self.attack.run(&victim, &examples, stream)?)
    }
}

/// The pixels of images; what interpolation rounded out of `[0, 1]` is cut off.
fn pixels(images: &Tensor) -> Result<Vec<f32>> {
    const ROUNDING: f32 = 1e-5;
    let cut = |pixel: f32| match pixel.clamp(0.0, 1.0) {
        inside if (pixel - inside).abs() <= ROUNDING => inside,
        _ => pixel,
    };
    Ok(images.flatten_all()?.to_vec1()?.into_iter().map(cut).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AttackSpec;
    use crate::attacks::{Fgsm, Pgd};
    use crate::testing::{Mlp, N_PIXELS, bits, examples, victim};
    use candle_core::Device;

    const MEAN: [f32; 2] = [0.1307, 0.5];
    const STD: [f32; 2] = [0.3081, 0.2];
    const EPS: f32 = 0.3;

    fn pgd7() -> AttackSpec {
        AttackSpec::Pgd(Pgd { eps: EPS, step_size: Some(EPS / 4.0), n_steps: 7, ..Pgd::default() })
    }

    fn fast() -> AttackSpec {
        AttackSpec::Fgsm(Fgsm { eps: EPS, random_start: true, ..Fgsm::default() })
    }

    fn training(attack: AttackSpec) -> AdversarialTraining {
        AdversarialTraining::new(attack).unwrap()
    }

    fn model(seed: u64) -> Mlp {
        Mlp::small(seed).normalized(&MEAN, &STD)
    }

    fn batch(victim: &Victim<'_>, examples: &Examples) -> Batch {
        Batch {
            images: victim.images(&examples.pixels).unwrap(),
            labels: Tensor::new(&examples.labels[..], &Device::Cpu).unwrap(),
            indices: examples.indices.clone(),
        }
    }

    fn values(images: &Tensor) -> Vec<f32> {
        images.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Mean cross entropy.
    fn loss(model: &Mlp, images: &Tensor, labels: &Tensor) -> f32 {
        let logits = model.forward(images, kd_core::Mode::Eval).unwrap();
        kd_core::ops::cross_entropy(&logits, labels, 0.0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn images_stay_in_ball_and_box_and_the_loss_rises() {
        let model = model(1);
        let victim = victim(&model);
        let examples = examples(&victim, 30, (0.0, 1.0));
        let batch = batch(&victim, &examples);
        for attack in [pgd7(), fast()] {
            let images = training(attack).perturb(&model, &batch, Stream::new(1)).unwrap();
            assert_eq!(images.dims(), batch.images.dims());
            let pixels = values(&images);
            let distance = crate::Norm::Linf.distance(&pixels, &examples.pixels);
            assert!(distance <= f64::from(EPS) + 1e-6, "{distance}");
            let (before, after) = (&batch.images, &images);
            let labels = &batch.labels;
            assert!(loss(&model, after, labels) > 2.0 * loss(&model, before, labels));
        }
    }

    #[test]
    fn an_image_is_perturbed_the_same_way_in_every_batch() {
        let model = model(2);
        let victim = victim(&model);
        let examples = examples(&victim, 12, (0.0, 1.0));
        let perturb = |examples: &Examples, seed| {
            let batch = batch(&victim, examples);
            values(&training(pgd7()).perturb(&model, &batch, Stream::new(seed)).unwrap())
        };
        let all = perturb(&examples, 1);
        assert_ne!(bits(&all), bits(&perturb(&examples, 2)));
        let alone = perturb(&examples.select(&[7]), 1);
        assert_eq!(bits(&alone), bits(&all[7 * N_PIXELS..8 * N_PIXELS]));
    }

    #[test]
    fn without_a_radius_the_images_stay() {
        let model = model(3);
        let victim = victim(&model);
        let batch = batch(&victim, &examples(&victim, 5, (0.0, 1.0)));
        let attack = pgd7().with_eps(0.0).unwrap();
        let images = training(attack).perturb(&model, &batch, Stream::new(1)).unwrap();
        assert_eq!(bits(&values(&images)), bits(&values(&batch.images)));
    }

    #[test]
    fn rounding_errors_of_interpolation_are_cut_off() {
        let images = Tensor::new(&[-1e-7_f32, 1.000_000_1, 0.3, 1.1, -0.1], &Device::Cpu).unwrap();
        assert_eq!(pixels(&images).unwrap(), [0.0, 1.0, 0.3, 1.1, -0.1]);
    }

    #[test]
    fn bad_settings_and_images_are_refused() {
        let fgsm = AttackSpec::Fgsm(Fgsm { eps: -0.1, ..Fgsm::default() });
        assert!(AdversarialTraining::new(fgsm).is_err());
        let model = model(4);
        let victim = victim(&model);
        let batch = batch(&victim, &examples(&victim, 3, (0.0, 1.0)));
        let refused = |training: AdversarialTraining, batch: &Batch, what: &str| {
            let error = training.perturb(&model, batch, Stream::new(1)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        let normalized = Batch { images: (&batch.images * 3.0).unwrap(), ..batch.clone() };
        refused(training(pgd7()), &normalized, "normalize inside the network");
        let images = batch.images.flatten_from(1).unwrap();
        refused(training(pgd7()), &Batch { images, ..batch.clone() }, "(N, C, H, W)");
    }
}
