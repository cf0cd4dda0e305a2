//! What it has cost to share a training.

use std::fmt;
use std::time::Duration;

use kd_core::{Lane, Sent, Shards};

/// What this process has sent to others, and how long it has waited for them.
#[derive(Debug, Clone)]
pub struct Sharing {
    shards: Shards,
    /// Steps that this process has made.
    pub n_steps: u64,
}

impl Sharing {
    pub(crate) fn new(shards: &Shards) -> Self {
        Self { shards: shards.clone(), n_steps: 0 }
    }

    /// Of one lane in all.
    pub fn of(&self, lane: Lane) -> Sent {
        self.shards.traffic().of(lane)
    }

    fn a_step(&self, n: u64) -> f64 {
        n as f64 / self.n_steps.max(1) as f64
    }

    fn ms_a_step(&self, time: Duration) -> f64 {
        1e3 * time.as_secs_f64() / self.n_steps.max(1) as f64
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [sums, values, rest] = [Lane::Sums, Lane::Values, Lane::Rest].map(|lane| self.of(lane));
        write!(
            f,
            "a step has sent {:.3} MB of gradients and weights in {:.0} messages, which took {:.2} ms, {:.2} ms of them \
             after the backward; and {:.3} MB of sums in {:.0} messages, for which it waited {:.2} ms",
            1e-6 * self.a_step(values.bytes),
            self.a_step(values.messages),
            self.ms_a_step(values.waited),
            self.ms_a_step(rest.waited),
            1e-6 * self.a_step(sums.bytes),
            self.a_step(sums.messages),
            self.ms_a_step(sums.waited),
        )
    }
}
