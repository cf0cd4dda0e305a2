//! Images under attack.

use kd_core::{Error, Result};

/// Images with what attacks need to know of them, one row each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples {
    /// Pixels in `[0, 1]`, `(N, C, H, W)` row-major.
    pub pixels: Vec<f32>,
    /// The true classes.
    pub labels: Vec<u32>,
    /// Position of each image in its data set; its random numbers follow from it.
    pub indices: Vec<u32>,
    /// The classes that the attack is to reach; without, any class but the label will do.
    pub targets: Option<Vec<u32>>,
}

impl Examples {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of example `i`.
    pub fn image(&self, i: usize) -> &[f32] {
        let n_pixels = self.pixels.len() / self.len();
        &self.pixels[i * n_pixels..(i + 1) * n_pixels]
    }

    /// The class that example `i` is to reach.
    pub fn target(&self, i: usize) -> Option<usize> {
        self.targets.as_ref().map(|targets| targets[i] as usize)
    }

    /// Whether logits with this largest class mean success for example `i`.
    pub fn succeeds(&self, i: usize, prediction: usize) -> bool {
        match self.target(i) {
            Some(target) => prediction == target,
            None => prediction != self.labels[i] as usize,
        }
    }

    /// The examples at `rows`, in this order.
    pub fn select(&self, rows: &[usize]) -> Self {
        let pick = |values: &[u32]| rows.iter().map(|&i| values[i]).collect::<Vec<_>>();
        Self {
            pixels: rows.iter().flat_map(|&i| self.image(i).iter().copied()).collect(),
            labels: pick(&self.labels),
            indices: pick(&self.indices),
            targets: self.targets.as_deref().map(pick),
        }
    }

    /// Refuses what no attack can work with.
    ///
    /// # Errors
    /// [`Error::Shape`] when lengths do not fit, [`Error::Config`] for a pixel outside `[0, 1]`, a
    /// label or target that is no class, or a target that is the label.
    pub fn check(&self, n_pixels: usize, n_classes: usize) -> Result<()> {
        let n = self.len();
        let n_targets = self.targets.as_ref().map_or(n, Vec::len);
        if self.pixels.len() != n * n_pixels || self.indices.len() != n || n_targets != n {
            let got = [self.pixels.len(), n, self.indices.len(), n_targets];
            let expected = format!("N * {n_pixels} pixels and N labels, indices and targets");
            return Err(Error::shape("examples", expected, &got));
        }
        if let Some(at) = self.pixels.iter().position(|p| !(0.0..=1.0).contains(p)) {
            let (i, value) = (at / n_pixels, self.pixels[at]);
            let reason = format!(
                "pixel {value} of example {i} is outside [0, 1]; normalize inside the network"
            );
            return Err(Error::config("images", reason));
        }
        for (i, &label) in self.labels.iter().enumerate() {
            let target = self.targets.as_ref().map(|targets| targets[i]);
            if label as usize >= n_classes || target.is_some_and(|t| t as usize >= n_classes) {
                let reason = format!("example {i}: a class is not below {n_classes}");
                return Err(Error::config("labels", reason));
            }
            if target == Some(label) {
                let reason = format!("example {i}: its target {label} is its label");
                return Err(Error::config("targets", reason));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three images of two pixels, four classes.
    fn good() -> Examples {
        Examples {
            pixels: vec![0.0, 1.0, 0.25, 0.5, 0.75, 0.125],
            labels: vec![0, 3, 1],
            indices: vec![7, 5, 6],
            targets: Some(vec![1, 2, 3]),
        }
    }

    #[test]
    fn a_selection_takes_everything_of_its_rows() {
        let want = Examples {
            pixels: vec![0.75, 0.125, 0.0, 1.0],
            labels: vec![1, 0],
            indices: vec![6, 7],
            targets: Some(vec![3, 1]),
        };
        assert_eq!(good().select(&[2, 0]), want);
        assert_eq!(good().image(1), [0.25, 0.5]);
        assert!(good().select(&[]).is_empty());
    }

    #[test]
    fn success_is_any_other_class_or_the_target() {
        let targeted = good();
        assert!(targeted.succeeds(0, 1) && !targeted.succeeds(0, 2) && !targeted.succeeds(0, 0));
        let free = Examples { targets: None, ..targeted };
        assert!(free.succeeds(0, 1) && free.succeeds(0, 2) && !free.succeeds(0, 0));
    }

    #[test]
    fn good_examples_pass_and_so_do_none() {
        good().check(2, 4).unwrap();
        Examples { targets: None, ..good() }.check(2, 4).unwrap();
        Examples::default().check(2, 4).unwrap();
    }

    #[test]
    fn what_no_attack_can_work_with_is_refused() {
        let refused = |examples: Examples, what: &str| {
            let error = examples.check(2, 4).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        for pixels in [vec![0.5; 5], vec![0.5; 3], vec![]] {
            refused(Examples { pixels, ..good() }, "3");
        }
        refused(Examples { indices: vec![1, 2], ..good() }, "indices");
        refused(Examples { targets: Some(vec![1]), ..good() }, "targets");
        for pixel in [-0.01, 1.01, f32::NAN, f32::INFINITY] {
            let mut bad = good();
            bad.pixels[3] = pixel;
            refused(bad, &format!("pixel {pixel} of example 1 is outside [0, 1]"));
        }
        refused(Examples { labels: vec![0, 4, 1], ..good() }, "example 1: a class is not below 4");
        let far = Examples { targets: Some(vec![1, 2, 9]), ..good() };
        refused(far, "example 2: a class is not below 4");
        let same = Examples { targets: Some(vec![1, 3, 2]), ..good() };
        refused(same, "example 1: its target 3 is its label");
    }
}
