//! Square attack.

mod proposal;

use kd_core::rng::Rng;
use kd_core::{Result, Stream, argmax, at_least_one, in_range};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::proposal::Proposer;
use super::standing::{Outcome, Standing};
use crate::attack::{ball, check_ball};
use crate::{Attack, Examples, Norm, Objective, ObjectiveKind, Victim};

/// Random search over squares of pixels at the border of the ball: it sees the logits, but no
/// gradient.
///
/// A proposal is kept when it raises the margin `max_{i != y} z_i - z_y` (toward a target
/// `z_t - max_{i != t} z_i`) or succeeds; a success ends an example's search. The share of the image
/// that a square covers is `p_init` at first and halved after 10, 50, 200, 500, 1000, 2000, 4000,
/// 6000 and 8000 of 10000 proposals.
/// Source: Andriushchenko, Croce, Flammarion and Hein 2020 (arXiv:1912.00049).
///
/// In the rows where it does not succeed stands the image of the largest margin.
///
/// # Differs from
/// The authors' code, where images of a batch share their random numbers and the last row and column
/// are left out; `n_queries` here includes the first image. A proposal that would change nothing is
/// turned round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Square {
    /// `linf` or `l2`.
    pub norm: Norm,
    /// Radius of the ball.
    pub eps: f32,
    /// Forward passes of each image at most.
    pub n_queries: usize,
    /// Share of the image that the first squares cover, in `[0, 1]`.
    pub p_init: f32,
    /// Whether the schedule of the squares' size, made for 10000 proposals, is stretched to
    /// `n_queries`. AutoAttack leaves it as it is.
    pub resc_schedule: bool,
}

impl Default for Square {
    /// The authors' values, in AutoAttack's ball.
    fn default() -> Self {
        Self { norm: Norm::Linf, eps: 0.3, n_queries: 5000, p_init: 0.8, resc_schedule: true }
    }
}

/// Proposals, of 10000, after which squares get half as large.
const HALVINGS: [usize; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];

/// One example's search.
struct Search<'a> {
    /// Row of the examples.
    row: usize,
    image: &'a [f32],
    best: Vec<f32>,
    /// The margin of `best`.
    margin: f32,
    success: bool,
    rng: Rng,
}

impl Square {
    /// The share of the image that proposal number `proposal` changes.
    fn share(&self, proposal: usize) -> f32 {
        let part = proposal as f64 / self.n_queries as f64;
        let of_10000 = if self.resc_schedule { (part * 1e4) as usize } else { proposal };
        let n_halvings = HALVINGS.iter().filter(|at| of_10000 > **at).count();
        self.p_init / (1 << n_halvings) as f32
    }

    /// One query of every search that has not succeeded; whether there was any.
    fn query(
        &self,
        victim: &Victim<'_>,
        examples: &Examples,
        searches: &mut [Search<'_>],
        query: usize,
    ) -> Result<bool> {
        let (norm, eps, image_shape) = (self.norm, self.eps, victim.image_shape());
        let proposer = Proposer { norm, eps, image_shape };
        let mut active: Vec<_> = searches.iter_mut().filter(|search| !search.success).collect();
        if active.is_empty() {
            return Ok(false);
        }
        let propose = |search: &mut &mut Search<'_>| match query {
            0 => proposer.start(search.image, &mut search.rng),
            _ => {
                let p = self.share(query - 1);
                proposer.propose(search.image, &search.best, p, &mut search.rng)
            }
        };
        let proposals: Vec<Vec<f32>> = active.par_iter_mut().map(propose).collect();
        let logits = victim.logits(&proposals.concat())?;
        let rows = logits.chunks_exact(victim.n_classes());
        for ((search, proposal), logits) in active.into_iter().zip(proposals).zip(rows) {
            search.judge(examples, proposal, logits);
        }
        Ok(true)
    }
}

impl Search<'_> {
    /// Keeps a proposal that is better.
    fn judge(&mut self, examples: &Examples, proposal: Vec<f32>, logits: &[f32]) {
        let objective = Objective { kind: ObjectiveKind::Margin, ..Objective::default() };
        let (label, target) = (examples.labels[self.row] as usize, examples.target(self.row));
        let margin = objective.value(logits, label, target, &mut vec![0.0; logits.len()]);
        self.success = examples.succeeds(self.row, argmax(logits));
        if self.success || margin > self.margin {
            (self.best, self.margin) = (proposal, margin);
        }
    }
}

impl Attack for Square {
    fn check(&self) -> Result<()> {
        check_ball(self.norm, self.eps)?;
        at_least_one("n_queries", self.n_queries)?;
        in_range("p_init", self.p_init, 0.0, 1.0)
    }

    ball!();

    fn uses_gradients(&self) -> bool {
        false
    }

    fn n_passes(&self, _n_pixels: usize) -> usize {
        self.n_queries.div_ceil(3)
    }

    fn run(&self, victim: &Victim<'_>, examples: &Examples, stream: Stream) -> Result<Vec<f32>> {
        let mut standing = Standing::new(victim, examples)?;
        let left = standing.examples();
        let search = |row: usize| Search {
            row,
            image: left.image(row),
            best: left.image(row).to_vec(),
            margin: f32::NEG_INFINITY,
            success: false,
            rng: stream.number(u64::from(left.indices[row])).rng(),
        };
        let mut searches: Vec<_> = (0..left.len()).map(search).collect();
        for query in 0..self.n_queries {
            if !self.query(victim, &left, &mut searches, query)? {
                break;
            }
        }
        let outcomes = searches.into_iter().map(|search| {
            let Search { best: image, margin: value, success, .. } = search;
            Outcome { image, value, success }
        });
        standing.settle(&outcomes.collect::<Vec<_>>());
        Ok(standing.into_images())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use candle_core::{Device, Tensor};
    use kd_core::{Classifier, Mode, Params};

    use super::*;
    use crate::testing::{Mlp, check_rows_alone, examples, successes, targeted, victim};

    fn run(square: &Square, victim: &Victim<'_>, examples: &Examples) -> Vec<f32> {
        square.check().unwrap();
        square.run(victim, examples, Stream::new(4)).unwrap()
    }

    /// Counts the images that a network sees.
    struct Counted(Mlp, AtomicUsize);

    impl Classifier for Counted {
        fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
            self.1.fetch_add(images.dim(0)?, Ordering::Relaxed);
            self.0.forward(images, mode)
        }

        fn n_classes(&self) -> usize {
            self.0.n_classes()
        }

        fn params(&self) -> &Params {
            self.0.params()
        }
    }

    #[test]
    fn the_schedule_by_hand() {
        let plain = Square { resc_schedule: false, ..Square::default() };
        let shares = [(0, 1), (10, 1), (11, 2), (51, 4), (201, 8), (1001, 32), (4999, 128)];
        for (proposal, divisor) in shares {
            assert!((plain.share(proposal) - 0.8 / divisor as f32).abs() < 1e-7, "{proposal}");
        }
        let stretched = Square::default();
        for (proposal, divisor) in [(5, 1), (6, 2), (26, 4), (501, 32), (4001, 512)] {
            assert!((stretched.share(proposal) - 0.8 / divisor as f32).abs() < 1e-7, "{proposal}");
        }
    }

    #[test]
    fn it_succeeds_beyond_the_least_distance_without_gradients() {
        // Two classes whose border has weights 1 and -1 in halves: as smooth as squares like it.
        let weight: Vec<f32> = (0..200)
            .map(|i| if i / 100 == usize::from(i % 100 < 50) { 0.5 } else { -0.5 })
            .collect();
        let model = Mlp::linear(&weight, &[0.4, 0.0]);
        let victim = Victim::new(&model, [1, 10, 10], &Device::Cpu).unwrap();
        let (pixels, labels, indices) = (vec![0.5; 300], vec![0; 3], vec![5, 6, 7]);
        let examples = Examples { pixels, labels, indices, targets: None };
        let plain = Square { resc_schedule: false, ..Square::default() };
        // z_0 - z_1 = 0.4, and its gradient has 100 values of 1 or -1.
        for (norm, least) in [(Norm::Linf, 0.004), (Norm::L2, 0.04)] {
            let square = Square { norm, eps: 1.5 * least, n_queries: 2000, ..plain.clone() };
            let images = run(&square, &victim, &examples);
            assert!(successes(&victim, &examples, &images).into_iter().all(|s| s), "{norm:?}");
            let square = Square { eps: 0.99 * least, n_queries: 300, ..square };
            let images = run(&square, &victim, &examples);
            assert!(successes(&victim, &examples, &images).into_iter().all(|s| !s), "{norm:?}");
        }
    }

    #[test]
    fn queries_are_counted_and_success_ends_them() {
        let model = Counted(Mlp::small(4), AtomicUsize::new(0));
        let victim = victim(&model);
        let mut examples = examples(&victim, 3, (0.2, 0.8));
        let square = |eps| Square { eps, n_queries: 40, ..Square::default() };
        let count = |eps, examples: &Examples| {
            model.1.store(0, Ordering::Relaxed);
            let images = run(&square(eps), &victim, examples);
            let n = model.1.load(Ordering::Relaxed);
            (n, successes(&victim, examples, &images).into_iter().filter(|s| *s).count())
        };
        // One image each to see who is right, and all queries.
        assert_eq!(count(0.0, &examples), (3 + 3 * 40, 0));
        let (n, n_successes) = count(0.5, &examples);
        assert!(n_successes == 3 && n < 3 * 40, "{n} queries, {n_successes} successes");
        examples.labels.iter_mut().for_each(|label| *label = (*label + 1) % 5);
        assert_eq!(count(0.5, &examples), (3, 3));
    }

    #[test]
    fn more_queries_never_lower_the_margin() {
        let model = Mlp::small(4);
        let victim = victim(&model);
        let examples = examples(&victim, 20, (0.2, 0.8));
        let objective = Objective { kind: ObjectiveKind::Margin, ..Objective::default() };
        let margins = |norm, n_queries| {
            let eps = if norm == Norm::L2 { 0.1 } else { 0.03 };
            let square = Square { norm, eps, n_queries, resc_schedule: false, ..Square::default() };
            let images = run(&square, &victim, &examples);
            let logits = victim.logits(&images).unwrap();
            let rows = logits.chunks_exact(5).zip(&examples.labels);
            rows.map(|(row, y)| objective.value(row, *y as usize, None, &mut [0.0; 5]))
                .collect::<Vec<_>>()
        };
        for norm in [Norm::Linf, Norm::L2] {
            let (few, many) = (margins(norm, 5), margins(norm, 60));
            assert!(few.iter().zip(&many).all(|(few, many)| many >= few || *few > 0.0));
            assert!(few.iter().zip(&many).any(|(few, many)| many > few));
        }
    }

    #[test]
    fn no_example_depends_on_its_batch_mates() {
        let model = Mlp::small(4);
        let victim = victim(&model);
        let examples = examples(&victim, 60, (0.2, 0.8));
        for norm in [Norm::Linf, Norm::L2] {
            let square = Square { norm, eps: 0.1, n_queries: 30, ..Square::default() };
            check_rows_alone(&square, &victim, &examples, &[59, 3, 17]);
        }
    }

    #[test]
    fn it_reaches_given_targets() {
        let model = Mlp::random_linear(5, 5);
        let victim = victim(&model);
        let examples = targeted(examples(&victim, 20, (0.3, 0.7)), 5);
        let images = run(&Square { n_queries: 500, ..Square::default() }, &victim, &examples);
        let n = successes(&victim, &examples, &images).into_iter().filter(|s| *s).count();
        assert!(n >= 18, "{n} of 20");
    }

    #[test]
    fn bad_settings_are_refused() {
        let refused = |square: Square, field: &str| {
            let error = square.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{field}`")), "{error}");
        };
        let good = Square::default();
        refused(Square { eps: -0.1, ..good.clone() }, "eps");
        refused(Square { norm: Norm::L0, ..good.clone() }, "norm");
        refused(Square { n_queries: 0, ..good.clone() }, "n_queries");
        refused(Square { p_init: 1.5, ..good }, "p_init");
    }
}
