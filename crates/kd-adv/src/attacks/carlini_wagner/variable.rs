//! An image as a function of an unbounded variable, moved by Adam.

use kd_core::math::exp_in_range;

/// `x = (tanh(w) + 1) / 2`, which stays in `[0, 1]` whatever `w` is.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    w: Vec<f32>,
    image: Vec<f32>,
    /// `dx / dw`
    slope: Vec<f32>,
    /// Adam's running means of the gradient and of its square.
    first: Vec<f32>,
    second: Vec<f32>,
    n_steps: i32,
}

/// The authors' factor that keeps pixels of 0 and 1 at finite `w`, where the slope is 1e-6 and not
/// 0: Adam, which divides by the gradient's size, moves them all the same.
const INSIDE: f64 = 0.999999;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPS: f32 = 1e-8;

impl Variable {
    /// At `image`, up to 5e-7, before the first step.
    pub(super) fn new(image: &[f32]) -> Self {
        let w = |x: &f32| ((2.0 * f64::from(*x) - 1.0) * INSIDE).atanh() as f32;
        let zeros = || vec![0.0; image.len()];
        let mut variable = Self {
            w: image.iter().map(w).collect(),
            image: zeros(),
            slope: zeros(),
            first: zeros(),
            second: zeros(),
            n_steps: 0,
        };
        variable.update_image();
        variable
    }

    pub(super) fn image(&self) -> &[f32] {
        &self.image
    }

    /// A step of Adam (Kingma, Ba 2015) down the gradient with respect to the image.
    pub(super) fn step(&mut self, learning_rate: f32, gradient: &[f32]) {
        self.n_steps = self.n_steps.saturating_add(1);
        let rate = learning_rate / (1.0 - BETA1.powi(self.n_steps));
        let scale = 1.0 / (1.0 - BETA2.powi(self.n_steps));
        let moments = self.first.iter_mut().zip(&mut self.second);
        let pixels = self.w.iter_mut().zip(moments).zip(gradient.iter().zip(&self.slope));
        for ((w, (first, second)), (of_image, slope)) in pixels {
            let gradient = of_image * slope;
            *first = BETA1 * *first + (1.0 - BETA1) * gradient;
            *second = BETA2 * *second + (1.0 - BETA2) * gradient * gradient;
            *w -= rate * *first / ((scale * *second).sqrt() + EPS);
        }
        self.update_image();
    }

    fn update_image(&mut self) {
        let pixels = self.image.iter_mut().zip(&mut self.slope).zip(&self.w);
        for ((x, slope), w) in pixels {
            // 1 - x = e x has no rounding error where x is near 1.
            let e = exp_in_range((-2.0 * w).clamp(-80.0, 80.0));
            *x = 1.0 / (1.0 + e);
            *slope = 2.0 * *x * (e * *x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_and_its_slope() {
        let pixels = [0.0, 0.001, 0.3, 0.5, 0.99, 1.0];
        let variable = Variable::new(&pixels);
        for (i, pixel) in pixels.into_iter().enumerate() {
            assert!((variable.image[i] - pixel).abs() <= 6e-7);
            let x = |w: f64| 0.5 * (w.tanh() + 1.0);
            let w = f64::from(variable.w[i]);
            let want = (x(w + 1e-4) - x(w - 1e-4)) / 2e-4;
            let slope = f64::from(variable.slope[i]);
            assert!((slope / want - 1.0).abs() < 1e-3, "{pixel}: {slope}, {want}");
        }
    }

    #[test]
    fn far_out_everything_is_finite() {
        let mut variable = Variable::new(&[0.5, 0.5]);
        for _ in 0..5 {
            variable.step(1e6, &[1.0, -1.0]);
        }
        assert!(variable.image[0] < 1e-30 && variable.image[1] > 1.0 - 1e-7);
        assert!(variable.slope.iter().all(|s| s.is_finite()));
    }

    /// Adam's first step is the learning rate, whatever the gradient's size.
    #[test]
    fn pixels_at_the_ends_move_as_soon_as_others() {
        let mut variable = Variable::new(&[0.0, 0.5, 1.0]);
        let before = variable.w.clone();
        variable.step(0.01, &[-0.5, -2.0, 0.5]);
        for (i, want) in [0.01, 0.01, -0.01].into_iter().enumerate() {
            let moved = variable.w[i] - before[i];
            assert!((moved - want).abs() < 2e-4, "{moved}");
        }
    }
}
