//! Students that teach each other.

use candle_core::Tensor;
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::rows::{check, kl, log_softmax, student, sum, with_labels};
use super::{Loss, LossInput};

/// `CE + weight / (M - 1) sum_m KL(softmax(z_m) || softmax(z))` over the M - 1 other students that learn by this
/// objective in the cohort (Zhang et al. 2018, arXiv:1706.00384, Deep Mutual Learning, eq. 8 to 10). Nothing flows to
/// the others. Here all look at each other's logits of the same moment and then make their steps; in the paper's
/// algorithm 1 they take turns, each with the other's logits after its step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mutual {
    /// Weight of the divergence.
    pub weight: f64,
}

impl Default for Mutual {
    fn default() -> Self {
        Self { weight: 1.0 }
    }
}

impl Loss for Mutual {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let log_p = log_softmax(&student(input)?)?;
        let from = |peer: &Tensor| {
            let peer = peer.detach().to_dtype(log_p.dtype())?;
            Ok(kl(&log_softmax(&peer)?, &log_p)?.mean_all()?)
        };
        let own = log_p.zeros_like()?.sum_all();
        let all = std::iter::once(Ok(own?)).chain(input.peers.iter().map(from));
        let weight = self.weight / input.peers.len().max(1) as f64;
        with_labels(input, 1.0, (sum(all)? * weight)?)
    }

    fn needs_peers(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        check(&[("weight", self.weight)], &[])
    }
}
