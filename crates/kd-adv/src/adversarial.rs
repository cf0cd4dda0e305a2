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
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl AdversarialTraining {
    /// `attack` on images that the loader normalizes to `(pixel - mean) / std`, one mean and one
    /// std per channel.
    ///
    /// # Errors
    /// [`Error::Config`] for settings of the attack outside their domain.
    pub fn new(attack: impl Attack + 'static, mean: Vec<f32>, std: Vec<f32>) -> Result<Self> {
        attack.check()?;
        Ok(Self { attack: Box::new(attack), mean, std })
    }
}

impl Perturb for AdversarialTraining {
    /// # Errors
    /// [`Error::Config`] when the images were not normalized with this mean and std, or a logit is
    /// not finite.
    fn perturb(&self, model: &dyn Classifier, batch: &Batch, stream: Stream) -> Result<Tensor> {
        let &[_, channels, height, width] = batch.images.dims() else {
            return Err(Error::shape("images", "(N, C, H, W)", batch.images.dims()));
        };
        let shape = [channels, height, width];
        let victim = Victim::new(model, shape, &self.mean, &self.std, batch.images.device())?;
        let examples = Examples {
            pixels: victim.pixels(&batch.images)?,
            labels: batch.labels.to_vec1()?,
            indices: batch.indices.clone(),
            targets: None,
        };
        examples.check(victim.n_pixels(), victim.n_classes())?;
        victim.images(&self.attack.run(&victim, &examples, stream)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AttackSpec;
    use crate::attacks::{Fgsm, Pgd};
    use crate::testing::{Mlp, N_PIXELS, SHAPE, bits, examples};
    use candle_core::Device;

    const MEAN: [f32; 2] = [0.1307, 0.5];
    const STD: [f32; 2] = [0.3081, 0.2];
    const EPS: f32 = 0.3;

    fn pgd7() -> AttackSpec {
        AttackSpec::Pgd(Pgd { eps: EPS, step_size: EPS / 4.0, n_steps: 7, ..Pgd::default() })
    }

    fn fast() -> AttackSpec {
        AttackSpec::Fgsm(Fgsm { eps: EPS, random_start: true, ..Fgsm::default() })
    }

    fn training(attack: AttackSpec) -> AdversarialTraining {
        AdversarialTraining::new(attack, MEAN.to_vec(), STD.to_vec()).unwrap()
    }

    fn victim(model: &Mlp) -> Victim<'_> {
        Victim::new(model, SHAPE, &MEAN, &STD, &Device::Cpu).unwrap()
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
        let model = Mlp::small(1);
        let victim = victim(&model);
        let examples = examples(&victim, 30, (0.0, 1.0));
        let batch = batch(&victim, &examples);
        for attack in [pgd7(), fast()] {
            let images = training(attack).perturb(&model, &batch, Stream::new(1)).unwrap();
            assert_eq!(images.dims(), batch.images.dims());
            let pixels = victim.pixels(&images).unwrap();
            let distance = crate::Norm::Linf.distance(&pixels, &examples.pixels);
            assert!(distance <= f64::from(EPS) + 1e-6, "{distance}");
            let (before, after) = (&batch.images, &images);
            let labels = &batch.labels;
            assert!(loss(&model, after, labels) > 2.0 * loss(&model, before, labels));
        }
    }

    #[test]
    fn an_image_is_perturbed_the_same_way_in_every_batch() {
        let model = Mlp::small(2);
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
    fn without_a_radius_the_images_stay_up_to_rounding() {
        let model = Mlp::small(3);
        let victim = victim(&model);
        let batch = batch(&victim, &examples(&victim, 5, (0.0, 1.0)));
        let attack = pgd7().as_dyn().with_eps(0.0).unwrap();
        let images = training(attack).perturb(&model, &batch, Stream::new(1)).unwrap();
        for (got, want) in values(&images).iter().zip(values(&batch.images)) {
            assert!((got - want).abs() < 1e-5, "{got}, want {want}");
        }
    }

    #[test]
    fn bad_settings_and_images_are_refused() {
        let fgsm = AttackSpec::Fgsm(Fgsm { eps: -0.1, ..Fgsm::default() });
        assert!(AdversarialTraining::new(fgsm, MEAN.to_vec(), STD.to_vec()).is_err());
        let model = Mlp::small(4);
        let victim = victim(&model);
        let batch = batch(&victim, &examples(&victim, 3, (0.0, 1.0)));
        let refused = |training: AdversarialTraining, batch: &Batch, what: &str| {
            let error = training.perturb(&model, batch, Stream::new(1)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        let other = AdversarialTraining::new(pgd7(), vec![0.0; 2], vec![1.0; 2]).unwrap();
        refused(other, &batch, "normalized otherwise");
        let one_channel = AdversarialTraining::new(pgd7(), vec![0.0], vec![1.0]).unwrap();
        refused(one_channel, &batch, "2 channels");
        let images = batch.images.flatten_from(1).unwrap();
        refused(training(pgd7()), &Batch { images, ..batch.clone() }, "(N, C, H, W)");
    }
}
