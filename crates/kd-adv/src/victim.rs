//! The network under attack, as attacks see it.
//!
//! Key decision: an attack's state is rows of pixels in host memory, one per example, and only the
//! network's forward and backward run as tensors. Every rule is then a loop over one example's
//! pixels, which makes it plain that no example's result depends on its batch mates.

use candle_core::{Device, Tensor, Var};
use kd_core::{Classifier, Error, Mode, Result};
use rayon::prelude::*;

/// A [`Classifier`] with the pullback of its logits: pixels in `[0, 1]`, row-major `(N, C, H, W)`, go
/// in as they are, raw logits come out, and gradients are taken for the pixels. Whatever
/// normalization the network needs is its own. It runs in evaluation mode, where its parameters are
/// constants: their gradients are never computed.
pub struct Victim<'a> {
    model: &'a dyn Classifier,
    image_shape: [usize; 3],
    device: Device,
}

/// Logits and their pullback to pixels.
#[derive(Debug, Clone)]
pub struct Pullback {
    /// `(N, K)` row-major.
    pub logits: Vec<f32>,
    /// `(N, C, H, W)` row-major; `(N, S, C, H, W)` with S seeds for each row.
    pub pixels: Vec<f32>,
}

/// Rows of one forward pass: so few that a convolution's output stays near the processor.
const N_ROWS: usize = 50;

impl<'a> Victim<'a> {
    /// `model` on images of `image_shape` = `[C, H, W]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for images without pixels.
    pub fn new(
        model: &'a dyn Classifier,
        image_shape: [usize; 3],
        device: &Device,
    ) -> Result<Self> {
        if image_shape.contains(&0) {
            return Err(Error::shape("images", "(N, C, H, W) with pixels", &image_shape));
        }
        Ok(Self { model, image_shape, device: device.clone() })
    }

    /// Values of one image, C * H * W.
    pub fn n_pixels(&self) -> usize {
        self.image_shape.iter().product()
    }

    /// `[C, H, W]`.
    pub fn image_shape(&self) -> [usize; 3] {
        self.image_shape
    }

    /// Number of classes, K.
    pub fn n_classes(&self) -> usize {
        self.model.n_classes()
    }

    /// The logits of images in rows.
    ///
    /// # Errors
    /// [`Error::Config`] when a logit is not finite; whatever the network reports.
    pub fn logits(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        let forward = |(first, pixels): (usize, &[f32])| {
            let logits = self.model.forward(&self.images(pixels)?, Mode::Eval)?;
            finite(logits.flatten_all()?.to_vec1()?, first, self.n_classes())
        };
        let parts = self.parts(pixels).map(forward).collect::<Result<Vec<_>>>()?;
        Ok(parts.concat())
    }

    /// The logits, and for each row the gradient of `sum_k seed_k z_k` with respect to its pixels.
    /// `seed(i, logits, seeds)` writes the seeds of row `i`; they are zeros before.
    ///
    /// With `seed` = the gradient of a loss with respect to the logits, this is the gradient of the
    /// loss with respect to the pixels.
    ///
    /// # Errors
    /// As [`Victim::logits`].
    pub fn pullback(
        &self,
        pixels: &[f32],
        seed: impl Fn(usize, &[f32], &mut [f32]) + Sync,
    ) -> Result<Pullback> {
        let part = |(first, pixels): (usize, &[f32])| self.pullback_part(first, pixels, &seed);
        let parts = self.parts(pixels).map(part).collect::<Result<Vec<_>>>()?;
        let (logits, pixels): (Vec<_>, Vec<_>) =
            parts.into_iter().map(|part| (part.logits, part.pixels)).unzip();
        Ok(Pullback { logits: logits.concat(), pixels: pixels.concat() })
    }

    /// [`Victim::pullback`] with `n_seeds` seeds for each row: `seed(i, s, logits, seeds)` writes
    /// those of number `s`, and the gradients are `(N, n_seeds, C, H, W)`. As much work as so many
    /// pullbacks.
    ///
    /// # Errors
    /// As [`Victim::logits`].
    pub fn pullbacks(
        &self,
        pixels: &[f32],
        n_seeds: usize,
        seed: impl Fn(usize, usize, &[f32], &mut [f32]) + Sync,
    ) -> Result<Pullback> {
        let n_pixels = self.n_pixels();
        let mut all = Pullback { logits: Vec::new(), pixels: vec![0.0; n_seeds * pixels.len()] };
        for s in 0..n_seeds {
            let one = self.pullback(pixels, |i, logits, seeds| seed(i, s, logits, seeds))?;
            let rows = all.pixels.chunks_exact_mut(n_seeds * n_pixels);
            for (row, gradient) in rows.zip(one.pixels.chunks_exact(n_pixels)) {
                row[s * n_pixels..][..n_pixels].copy_from_slice(gradient);
            }
            all.logits = one.logits;
        }
        Ok(all)
    }

    fn pullback_part(
        &self,
        first: usize,
        pixels: &[f32],
        seed: &(impl Fn(usize, &[f32], &mut [f32]) + Sync),
    ) -> Result<Pullback> {
        let n_classes = self.n_classes();
        let images = Var::from_tensor(&self.images(pixels)?)?;
        let output = self.model.forward(images.as_tensor(), Mode::Eval)?;
        let logits = finite(output.flatten_all()?.to_vec1()?, first, n_classes)?;
        let mut seeds = vec![0.0; logits.len()];
        let rows = logits.chunks_exact(n_classes).zip(seeds.chunks_exact_mut(n_classes));
        rows.enumerate().for_each(|(i, (logits, seeds))| seed(first + i, logits, seeds));
        let seeds = Tensor::from_vec(seeds, output.shape(), &self.device)?;
        let grads = (output * seeds)?.sum_all()?.backward()?;
        let pixels = match grads.get(images.as_tensor()) {
            Some(grad) => grad.flatten_all()?.to_vec1()?,
            None => vec![0.0; pixels.len()],
        };
        Ok(Pullback { logits, pixels })
    }

    /// Groups of rows with the number of their first row.
    fn parts<'p>(
        &self,
        pixels: &'p [f32],
    ) -> impl IndexedParallelIterator<Item = (usize, &'p [f32])> {
        let parts = pixels.par_chunks(N_ROWS * self.n_pixels()).enumerate();
        parts.map(|(part, pixels)| (part * N_ROWS, pixels))
    }

    /// Rows of pixels as `(N, C, H, W)`.
    ///
    /// # Errors
    /// When candle cannot allocate.
    pub(crate) fn images(&self, pixels: &[f32]) -> Result<Tensor> {
        let [channels, height, width] = self.image_shape;
        let shape = (pixels.len() / self.n_pixels(), channels, height, width);
        Ok(Tensor::from_slice(pixels, shape, &self.device)?)
    }
}

fn finite(logits: Vec<f32>, first: usize, n_classes: usize) -> Result<Vec<f32>> {
    match logits.iter().position(|z| !z.is_finite()) {
        None => Ok(logits),
        Some(at) => {
            let reason = format!(
                "logit {} of example {} is not finite: this network cannot be attacked",
                at % n_classes,
                first + at / n_classes
            );
            Err(Error::config("model", reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Mlp, N_PIXELS, bits, examples, victim};

    const MEAN: [f32; 2] = [0.1307, 0.5];
    const STD: [f32; 2] = [0.3081, 0.2];

    /// Seeds that differ from row to row and depend on the logits.
    fn seed(i: usize, logits: &[f32], seeds: &mut [f32]) {
        for (k, (seed, z)) in seeds.iter_mut().zip(logits).enumerate() {
            *seed = (i + 1) as f32 * 0.1 - k as f32 + z.signum();
        }
    }

    #[test]
    fn the_pullback_of_a_linear_network_is_its_weights_over_the_std() {
        let model = Mlp::random_linear(3, 1).normalized(&MEAN, &STD);
        let victim = victim(&model);
        let pixels = examples(&victim, 2, (0.0, 1.0)).pixels;
        let rows = model.weight_rows();
        let got = victim.pullback(&pixels, |i, _, seeds| seeds[i] = 2.0).unwrap();
        for (at, got) in got.pixels.iter().enumerate() {
            let (i, p) = (at / N_PIXELS, at % N_PIXELS);
            let want = 2.0 * rows[i][p] / STD[p / 12];
            assert!((got - want).abs() < 1e-5, "row {i}, pixel {p}: {got}, want {want}");
        }
    }

    #[test]
    fn the_pullback_is_a_central_difference() {
        let model = Mlp::small(1).normalized(&MEAN, &STD);
        let victim = victim(&model);
        let pixels = examples(&victim, 3, (0.1, 0.9)).pixels;
        let pullback = victim.pullback(&pixels, seed).unwrap();
        assert_eq!(bits(&pullback.logits), bits(&victim.logits(&pixels).unwrap()));
        let mut seeds = vec![0.0; pullback.logits.len()];
        let rows = pullback.logits.chunks(5).zip(seeds.chunks_mut(5)).enumerate();
        rows.for_each(|(i, (logits, seeds))| seed(i, logits, seeds));
        let at = |p: usize, step: f32| {
            let mut moved = pixels.clone();
            moved[p] += step;
            let logits = victim.logits(&moved).unwrap();
            logits.iter().zip(&seeds).map(|(z, s)| f64::from(*z) * f64::from(*s)).sum::<f64>()
        };
        for (p, got) in pullback.pixels.iter().enumerate() {
            let want = (at(p, 1e-3) - at(p, -1e-3)) / 2e-3;
            assert!(
                (f64::from(*got) - want).abs() < 0.02 * (1.0 + want.abs()),
                "{p}: {got}, {want}"
            );
        }
    }

    #[test]
    fn the_networks_normalization_is_part_of_it() {
        let plain = Mlp::small(2);
        let pixels = examples(&victim(&plain), 4, (0.0, 1.0)).pixels;
        let normalized = pixels.iter().enumerate().map(|(at, pixel)| {
            let channel = at % N_PIXELS / 12;
            (pixel - MEAN[channel]) / STD[channel]
        });
        let want = victim(&plain).logits(&normalized.collect::<Vec<_>>()).unwrap();
        let model = Mlp::small(2).normalized(&MEAN, &STD);
        assert_eq!(bits(&victim(&model).logits(&pixels).unwrap()), bits(&want));
    }

    /// 120 rows are more than two forward passes.
    #[test]
    fn a_row_alone_has_the_same_bits_as_among_120() {
        let model = Mlp::small(3);
        let victim = victim(&model);
        let examples = examples(&victim, 120, (0.0, 1.0));
        let seed = |_: usize, logits: &[f32], seeds: &mut [f32]| seed(0, logits, seeds);
        let all = victim.pullback(&examples.pixels, seed).unwrap();
        for i in [0, 49, 50, 77, 119] {
            let alone = victim.pullback(examples.image(i), seed).unwrap();
            assert_eq!(bits(&alone.logits), bits(&all.logits[i * 5..][..5]), "row {i}");
            let among = &all.pixels[i * N_PIXELS..][..N_PIXELS];
            assert_eq!(bits(&alone.pixels), bits(among), "row {i}");
        }
    }

    #[test]
    fn the_jacobian_has_a_row_for_each_logit() {
        let model = Mlp::small(4);
        let victim = victim(&model);
        let pixels = examples(&victim, 3, (0.0, 1.0)).pixels;
        let jacobian = victim.pullbacks(&pixels, 5, |_, k, _, seeds| seeds[k] = 1.0).unwrap();
        for k in 0..5 {
            let one = victim.pullback(&pixels, |_, _, seeds| seeds[k] = 1.0).unwrap();
            for i in 0..3 {
                let row = &jacobian.pixels[(i * 5 + k) * N_PIXELS..][..N_PIXELS];
                assert_eq!(bits(row), bits(&one.pixels[i * N_PIXELS..][..N_PIXELS]));
            }
        }
    }

    #[test]
    fn logits_that_are_not_finite_are_named() {
        let model = Mlp::random_linear(3, 1).with_output(|z| z * f64::NAN);
        let victim = victim(&model);
        let pixels = vec![0.5; 2 * N_PIXELS];
        let errors = [
            victim.logits(&pixels).unwrap_err(),
            victim.pullback(&pixels, |_, _, _| ()).unwrap_err(),
        ];
        for error in errors {
            let message = error.to_string();
            assert!(
                message.starts_with("`model`: logit 0 of example 0 is not finite"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_network_that_ignores_its_images_has_zero_gradients() {
        let model = Mlp::random_linear(3, 1).with_output(|z| z.zeros_like());
        let pixels = vec![0.5; N_PIXELS];
        let pullback = victim(&model).pullback(&pixels, |_, _, seeds| seeds.fill(1.0)).unwrap();
        assert_eq!(pullback.pixels, [0.0; N_PIXELS]);
    }

    #[test]
    fn images_without_pixels_are_refused() {
        let error = Victim::new(&Mlp::small(1), [2, 0, 4], &Device::Cpu).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
}
