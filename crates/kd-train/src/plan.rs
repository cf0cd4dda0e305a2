//! How long and how fast to train.

use kd_core::ops::OptimizerSpec;
use kd_core::{Result, at_least_one, positive};
use serde::{Deserialize, Serialize};

use crate::choice::Keep;
use crate::schedule::{At, Schedule};

/// How long and how fast to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Passes over the training images.
    pub n_epochs: u64,
    /// Images a step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// Learning rate before the schedule.
    pub learning_rate: f64,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerSpec,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// Epochs between evaluations on the test set; the last epoch is always evaluated.
    #[serde(default = "one")]
    pub eval_every: u64,
    /// Steps between points of the learning curve, counted from the beginning of each epoch, at
    /// whose end there is one as well; without it there is no curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_every_steps: Option<u64>,
    /// Which epoch's weights the training ends with.
    #[serde(default, skip_serializing_if = "Keep::is_last")]
    pub keep: Keep,
    /// Epochs without a better evaluation on the held-out images after which a student stops; without
    /// it none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// Shards of a batch, a power of two, which processes can share: the same bits for any number of them, and
    /// other ones than those of a batch as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<usize>,
}

fn one() -> u64 {
    1
}

impl Plan {
    /// Adam at a constant learning rate, evaluated after every epoch.
    pub fn new(n_epochs: u64, batch_size: usize, learning_rate: f64) -> Self {
        Self {
            n_epochs,
            batch_size,
            learning_rate,
            optimizer: OptimizerSpec::default(),
            schedule: Schedule::default(),
            eval_every: 1,
            eval_every_steps: None,
            keep: Keep::Last,
            patience: None,
            shards: None,
        }
    }

    /// Refuses settings outside their domain.
    ///
    /// # Errors
    /// [`kd_core::Error::Config`], naming the setting.
    pub fn check(&self) -> Result<()> {
        for (field, value) in [
            ("n_epochs", self.n_epochs),
            ("batch_size", self.batch_size as u64),
            ("eval_every", self.eval_every),
            ("eval_every_steps", self.eval_every_steps.unwrap_or(1)),
            ("patience", self.patience.unwrap_or(1)),
        ] {
            at_least_one(field, value)?;
        }
        positive("learning_rate", self.learning_rate)?;
        self.optimizer.as_dyn().check()?;
        self.schedule.check(self.n_epochs)
    }

    /// Whether anything is chosen by held-out images.
    pub fn needs_holdout(&self) -> bool {
        self.keep != Keep::Last || self.patience.is_some()
    }

    /// The learning rate of step `step` of epoch `epoch`, both counted from 0, of `n_steps` an epoch.
    pub(crate) fn rate(&self, epoch: u64, step: u64, n_steps: u64) -> f64 {
        let at = At { epoch, step, n_epochs: self.n_epochs, n_steps };
        self.schedule.rate(self.learning_rate, at)
    }

    /// Steps of one epoch over `n_samples` images.
    pub fn n_steps(&self, n_samples: usize) -> u64 {
        n_samples.div_ceil(self.batch_size) as u64
    }

    /// Evaluations on the test set in all, at most, for `n_samples` training images.
    pub fn n_evaluations(&self, n_samples: usize) -> u64 {
        let n_steps = self.n_epochs.saturating_mul(self.n_steps(n_samples));
        match self.eval_every_steps {
            Some(n) => self.n_epochs.saturating_add(n_steps / n.max(1)),
            None => self.n_epochs.div_ceil(self.eval_every),
        }
    }
}
