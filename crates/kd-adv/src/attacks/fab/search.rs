//! FAB's state for one example.

use super::super::standing::Outcome;
use super::projection::toward_plane;
use super::settings::Fab;

/// The linearized border to another class, seen from a point: `value + normal . (x - point) = 0`.
pub(super) struct Plane<'a> {
    /// Difference of the two logits.
    pub(super) value: f32,
    /// Its gradient.
    pub(super) normal: &'a [f32],
}

/// One example's walk along the border.
pub(super) struct Search<'a> {
    fab: &'a Fab,
    image: &'a [f32],
    point: Vec<f32>,
    /// The nearest adversarial image so far, and its distance.
    nearest: Option<(f64, Vec<f32>)>,
}

impl<'a> Search<'a> {
    /// From `point`.
    pub(super) fn new(fab: &'a Fab, image: &'a [f32], point: Vec<f32>) -> Self {
        Self { fab, image, point, nearest: None }
    }

    /// Where the network is to be asked next.
    pub(super) fn point(&self) -> &[f32] {
        &self.point
    }

    /// `(1 - alpha) (x + eta d) + alpha (image + eta d')` within the box, with the changes d of the
    /// point and d' of the image to the plane, and `alpha = min(|d| / (|d| + |d'|), alpha_max)`.
    pub(super) fn advance(&mut self, plane: &Plane<'_>) {
        let norm = self.fab.norm;
        let value = f64::from(plane.value);
        let offsets = self.image.iter().zip(&self.point).zip(plane.normal);
        let at_image = offsets.map(|((c, x), w)| f64::from(c - x) * f64::from(*w)).sum::<f64>();
        let from_point = toward_plane(norm, &self.point, plane.normal, -value);
        let from_image = toward_plane(norm, self.image, plane.normal, -value - at_image);
        // Where both lengths are 0, the middle.
        let near = norm.length(&from_point).max(1e-8);
        let far = norm.length(&from_image).max(1e-8);
        let alpha = ((near / (near + far)) as f32).min(self.fab.alpha_max);
        let eta = self.fab.eta;
        let images = self.image.iter().zip(&from_image);
        let points = self.point.iter_mut().zip(&from_point);
        for ((x, d), (c, e)) in points.zip(images) {
            *x = ((1.0 - alpha) * (*x + eta * d) + alpha * (c + eta * e)).clamp(0.0, 1.0);
        }
    }

    /// At an adversarial point: keeps it if it is the nearest, and steps back toward the image.
    pub(super) fn step_back(&mut self) {
        let distance = self.fab.norm.distance(&self.point, self.image);
        if self.nearest.as_ref().is_none_or(|(nearest, _)| distance < *nearest) {
            self.nearest = Some((distance, self.point.clone()));
        }
        for (x, c) in self.point.iter_mut().zip(self.image) {
            *x = c + self.fab.beta * (*x - c);
        }
    }

    /// The nearest adversarial image, if it is within `eps`; then the example is done, where there
    /// is an `eps`.
    pub(super) fn outcome(self) -> Outcome {
        let eps = self.fab.eps;
        let counts = |distance: f64| eps.is_none_or(|eps| distance <= f64::from(eps));
        match self.nearest {
            Some((distance, image)) if counts(distance) => {
                Outcome { image, value: -distance as f32, success: eps.is_some() }
            }
            _ => {
                let (image, value) = (self.image.to_vec(), f32::NEG_INFINITY);
                Outcome { image, value, success: false }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Norm;

    #[test]
    fn a_step_by_hand() {
        // 0.3 - (x_1 + x_2 - 1) = 0 from the image: both pixels grow by 0.15, and as the point is
        // the image, alpha is alpha_max of two equal points.
        let fab = Fab::default();
        let plane = Plane { value: -0.3, normal: &[1.0, 1.0] };
        let mut search = Search::new(&fab, &[0.5, 0.5], vec![0.5, 0.5]);
        search.advance(&plane);
        assert!(search.point().iter().all(|x| (x - 0.6575).abs() < 1e-6), "{:?}", search.point());
        search.step_back();
        assert!(search.point().iter().all(|x| (x - 0.64175).abs() < 1e-6));
        // The border is at 0.65: |d| = 0.00825, |d'| = 0.15, alpha = 0.0521.
        let plane = Plane { value: -0.0165, normal: &[1.0, 1.0] };
        search.advance(&plane);
        let alpha = 0.00825 / 0.15825;
        let want = (1.0 - alpha) * (0.64175 + 1.05 * 0.00825) + alpha * 0.6575;
        assert!(search.point().iter().all(|x| (x - want).abs() < 1e-6), "{:?}", search.point());
        search.step_back();
        let outcome = search.outcome();
        assert!(!outcome.success && (outcome.image[0] - want).abs() < 1e-6, "the nearer stays");
        assert!((outcome.value + want - 0.5).abs() < 1e-6);
    }

    #[test]
    fn only_images_within_eps_count() {
        for (eps, success) in [(0.05, false), (0.15, true)] {
            let fab = Fab { norm: Norm::L2, eps: Some(eps), ..Fab::default() };
            let mut search = Search::new(&fab, &[0.5; 2], vec![0.6, 0.5]);
            search.step_back();
            let outcome = search.outcome();
            assert_eq!((outcome.success, outcome.image[0] > 0.55), (success, success));
        }
    }
}
