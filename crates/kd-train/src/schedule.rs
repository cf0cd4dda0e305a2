//! Learning rates by epoch.

use std::f64::consts::PI;

use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the learning rate changes from epoch to epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// It does not.
    #[default]
    Constant,
    /// Multiplied by `gamma` after each epoch.
    Exponential {
        /// In (0, 1].
        gamma: f64,
    },
    /// Multiplied by `gamma` after every `every` epochs.
    Step {
        /// Epochs between drops.
        every: u64,
        /// In (0, 1].
        gamma: f64,
    },
    /// Linear warm-up over `warmup` epochs, `base (e + 1) / w`, then half a cosine down to 0 at
    /// the last epoch, `base / 2 (1 + cos(pi (e - w) / (n - 1 - w)))`.
    Cosine {
        /// Epochs of warm-up.
        #[serde(default)]
        warmup: u64,
    },
}

impl Schedule {
    /// The learning rate of epoch `epoch` (counted from 0) of `n_epochs`.
    pub fn rate(self, base: f64, epoch: u64, n_epochs: u64) -> f64 {
        match self {
            Self::Constant => base,
            Self::Exponential { gamma } => base * gamma.powf(epoch as f64),
            Self::Step { every, gamma } => base * gamma.powf((epoch / every) as f64),
            Self::Cosine { warmup } if epoch < warmup => base * (epoch + 1) as f64 / warmup as f64,
            Self::Cosine { warmup } => {
                let done = (epoch - warmup) as f64;
                let length = n_epochs.saturating_sub(1 + warmup).max(1) as f64;
                base / 2.0 * (1.0 + (PI * done / length).cos())
            }
        }
    }

    /// Refuses settings outside their domain.
    ///
    /// # Errors
    /// [`Error::Config`], naming the setting.
    pub fn check(self, n_epochs: u64) -> Result<()> {
        match self {
            Self::Exponential { gamma } | Self::Step { gamma, .. }
                if !(gamma > 0.0 && gamma <= 1.0) =>
            {
                Err(Error::config("schedule.gamma", format!("{gamma} is not in (0, 1]")))
            }
            Self::Step { every: 0, .. } => {
                Err(Error::config("schedule.every", "must be at least one epoch"))
            }
            Self::Cosine { warmup } if warmup > n_epochs => {
                let reason = format!("{warmup} epochs are more than the training's {n_epochs}");
                Err(Error::config("schedule.warmup", reason))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_equal_the_golden_values() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/schedules.json");
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let n = golden["n_epochs"].as_u64().unwrap();
        let base = golden["learning_rate"].as_f64().unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 6);
        for case in cases {
            let gamma = || case["gamma"].as_f64().unwrap();
            let schedule = match case["name"].as_str().unwrap() {
                "constant" => Schedule::Constant,
                "exponential" => Schedule::Exponential { gamma: gamma() },
                "step" => {
                    Schedule::Step { every: case["step_size"].as_u64().unwrap(), gamma: gamma() }
                }
                _ => Schedule::Cosine { warmup: case["n_warmup"].as_u64().unwrap() },
            };
            schedule.check(n).unwrap();
            for (epoch, want) in case["rates"].as_array().unwrap().iter().enumerate() {
                let got = schedule.rate(base, epoch as u64, n);
                let want = want.as_f64().unwrap();
                assert!((got - want).abs() < 1e-12, "{schedule:?}, epoch {epoch}: {got}, {want}");
            }
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for schedule in [
            Schedule::Exponential { gamma: 0.0 },
            Schedule::Exponential { gamma: f64::NAN },
            Schedule::Step { every: 0, gamma: 0.1 },
            Schedule::Cosine { warmup: 4 },
        ] {
            assert!(schedule.check(3).is_err(), "{schedule:?}");
        }
    }
}
