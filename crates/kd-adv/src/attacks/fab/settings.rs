//! What the attack is told.

use serde::{Deserialize, Serialize};

use crate::Norm;

/// Looks for the nearest adversarial image along the border between two classes.
///
/// At each step the differences `f_s = z_s - z_y` are linearized; of the planes `f_s = 0`, the one
/// with the least `|f_s| / |grad f_s|` (dual norm) is taken, the current point and the example are
/// projected to it within the box, both projections are overshot by `eta` and mixed, with at most
/// `alpha_max` for the example's. Every adversarial point is kept if it is nearer than those before;
/// from it, the search steps back to `beta` of the way.
/// Source: Croce and Hein 2020, algorithm 1 (arXiv:1907.02044); the targeted form (FAB-T) is of
/// AutoAttack (arXiv:2003.01690).
///
/// Untargeted it costs K - 1 forward and backward passes a step; toward a class, one.
///
/// # Differs from
/// AutoAttack's code, where the classes are tried in turn until an image within `eps` is found, and
/// nothing is found beyond it; that is so here with `eps`; without, all runs are made and the
/// nearest image counts. As there, the paper's final line search is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fab {
    /// The distance to be made small, `linf` or `l2`.
    pub norm: Norm,
    /// Only images within this distance count; without, the nearest does.
    pub eps: Option<f32>,
    /// Steps of a run.
    pub n_steps: usize,
    /// Runs, all but the first from a random point: at half the least distance found so far, at most
    /// half of `eps` (without: of 0.3 for L-infinity and 1 for L2).
    pub restarts: usize,
    /// Largest weight of the example's projection, in `[0, 1]`.
    pub alpha_max: f32,
    /// Overshooting, at least 1.
    pub eta: f32,
    /// How much of the way is left after a step back, in `[0, 1]`.
    pub beta: f32,
    /// 0: to the nearest plane of all classes; else runs toward each of so many classes, those with
    /// the largest logits first.
    pub n_target_classes: usize,
}

impl Default for Fab {
    /// The source's values.
    fn default() -> Self {
        Self {
            norm: Norm::Linf,
            eps: None,
            n_steps: 100,
            restarts: 1,
            alpha_max: 0.1,
            eta: 1.05,
            beta: 0.9,
            n_target_classes: 0,
        }
    }
}

impl Fab {
    /// FAB-T, toward the 9 most likely wrong classes, within `eps`.
    pub fn targeted(norm: Norm, eps: f32) -> Self {
        Self { norm, eps: Some(eps), n_target_classes: 9, ..Self::default() }
    }
}
