//! Learning rates by epoch and step.

use std::f64::consts::PI;

use kd_core::{Error, Result, below_one, not_negative, positive};
use serde::{Deserialize, Serialize};

/// How the learning rate changes: from epoch to epoch, or from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// It does not.
    Constant {},
    /// Multiplied by `gamma` after each epoch.
    Exponential {
        /// In (0, 1].
        gamma: f64,
    },
    /// Multiplied by `gamma` after `first` epochs, and after every `every` from there on.
    Step {
        /// Epochs between drops.
        every: u64,
        /// In (0, 1].
        gamma: f64,
        /// Epochs before the first drop; `every` unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<u64>,
    },
    /// Linear warm-up over `warmup` epochs, `base (e + 1) / w`, then half a cosine down to 0 at
    /// the last epoch, `base / 2 (1 + cos(pi (e - w) / (n - 1 - w)))`.
    Cosine {
        /// Epochs of warm-up.
        #[serde(default)]
        warmup: u64,
    },
    /// `base / (1 + decay * i)` in step i, counted from 0 over the whole training: what
    /// `SGD(lr, decay=...)` of Keras 2 does, where `decay=1e-6` is no weight decay.
    KerasDecay {
        /// At least 0.
        decay: f64,
    },
    /// From `base / div_factor` up to `base` and down to `base / div_factor / final_div_factor` in
    /// the last step: PyTorch's `OneCycleLR` with `max_lr = base`, but the momentum stays
    /// (`cycle_momentum=False`). Smith and Topin 2018, arXiv:1708.07120.
    OneCycle {
        /// Fraction of the steps that go up, in [0, 1); 0.3 unless given.
        #[serde(default = "pct_start")]
        pct_start: f64,
        /// Above 0; 25 unless given.
        #[serde(default = "div_factor")]
        div_factor: f64,
        /// Above 0; 10,000 unless given.
        #[serde(default = "final_div_factor")]
        final_div_factor: f64,
        /// The shape of both ways; `cosine` unless given.
        #[serde(default)]
        anneal: Anneal,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Constant {}
    }
}

/// The way from one learning rate to another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

impl Anneal {
    /// The rate at `done`, a fraction of the way.
    fn between(self, start: f64, end: f64, done: f64) -> f64 {
        match self {
            Self::Cosine => end + (start - end) / 2.0 * (1.0 + (PI * done).cos()),
            Self::Linear => start + (end - start) * done,
        }
    }
}

fn pct_start() -> f64 {
    0.3
}

fn div_factor() -> f64 {
    25.0
}

fn final_div_factor() -> f64 {
    1e4
}

/// A step of a training, as a schedule sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The step within it, counted from 0.
    pub step: u64,
    /// Epochs of the whole training.
    pub n_epochs: u64,
    /// Steps of an epoch.
    pub n_steps: u64,
}

impl Schedule {
    /// The learning rate of a step.
    pub fn rate(self, base: f64, at: At) -> f64 {
        let At { epoch, n_epochs, .. } = at;
        // Steps done, as a real number.
        let done = at.epoch as f64 * at.n_steps as f64 + at.step as f64;
        match self {
            Self::Constant {} => base,
            Self::Exponential { gamma } => base * gamma.powf(epoch as f64),
            Self::Step { every, gamma, first } => {
                let n_drops =
                    epoch.saturating_add(every).saturating_sub(first.unwrap_or(every)) / every;
                base * gamma.powf(n_drops as f64)
            }
            Self::Cosine { warmup } if epoch < warmup => base * (epoch + 1) as f64 / warmup as f64,
            Self::Cosine { warmup } => {
                let done = (epoch - warmup) as f64;
                let length = n_epochs.saturating_sub(1 + warmup).max(1) as f64;
                base / 2.0 * (1.0 + (PI * done / length).cos())
            }
            Self::KerasDecay { decay } => base / (1.0 + decay * done),
            Self::OneCycle { pct_start, div_factor, final_div_factor, anneal } => {
                let (first, total) = (base / div_factor, n_epochs as f64 * at.n_steps as f64);
                // The step of the highest rate, as PyTorch counts it.
                let top = pct_start * total - 1.0;
                if top > 0.0 && done <= top {
                    anneal.between(first, base, done / top)
                } else {
                    let fallen = (done - top) / (total - 1.0 - top);
                    anneal.between(base, first / final_div_factor, fallen)
                }
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
            Self::Step { first: Some(0), .. } => {
                Err(Error::config("schedule.first", "must be at least one epoch"))
            }
            Self::Cosine { warmup } if warmup > n_epochs => {
                let reason = format!("{warmup} epochs are more than the training's {n_epochs}");
                Err(Error::config("schedule.warmup", reason))
            }
            Self::KerasDecay { decay } => not_negative("schedule.decay", decay),
            Self::OneCycle { pct_start, div_factor, final_div_factor, .. } => {
                below_one("schedule.pct_start", pct_start)?;
                positive("schedule.div_factor", div_factor)?;
                positive("schedule.final_div_factor", final_div_factor)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn golden(name: &str) -> Value {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
        serde_json::from_str(&std::fs::read_to_string(format!("{folder}/{name}")).unwrap()).unwrap()
    }

    fn schedule(case: &Value) -> Schedule {
        let number = |key: &str| case[key].as_f64().unwrap();
        let whole = |key: &str| case[key].as_u64().unwrap();
        match case["name"].as_str().unwrap() {
            "constant" => Schedule::Constant {},
            "exponential" => Schedule::Exponential { gamma: number("gamma") },
            "step" => {
                let (every, gamma) = (whole("step_size"), number("gamma"));
                Schedule::Step { every, gamma, first: None }
            }
            "keras-decay" => Schedule::KerasDecay { decay: number("decay") },
            "one-cycle" => Schedule::OneCycle {
                pct_start: number("pct_start"),
                div_factor: number("div_factor"),
                final_div_factor: number("final_div_factor"),
                anneal: serde_json::from_value(case["anneal"].clone()).unwrap(),
            },
            _ => Schedule::Cosine { warmup: whole("n_warmup") },
        }
    }

    /// The rates of schedules by epoch at any step, and of those by step at each.
    #[test]
    fn rates_equal_the_golden_values() {
        for (name, n_cases) in [("schedules.json", 6), ("step_schedules.json", 7)] {
            let golden = golden(name);
            let n_epochs = golden["n_epochs"].as_u64().unwrap();
            let n_steps = golden["n_steps"].as_u64();
            let base = golden["learning_rate"].as_f64().unwrap();
            let cases = golden["cases"].as_array().unwrap();
            assert_eq!(cases.len(), n_cases);
            for case in cases {
                let schedule = schedule(case);
                schedule.check(n_epochs).unwrap();
                for (i, want) in case["rates"].as_array().unwrap().iter().enumerate() {
                    let i = i as u64;
                    let (epoch, step) = n_steps.map_or((i, i % 3), |n| (i / n, i % n));
                    let at = At { epoch, step, n_epochs, n_steps: n_steps.unwrap_or(3) };
                    let (got, want) = (schedule.rate(base, at), want.as_f64().unwrap());
                    assert!((got - want).abs() < 1e-12, "{schedule:?} {at:?}: {got}, {want}");
                }
            }
        }
    }

    #[test]
    fn the_first_drop_may_come_later_or_sooner_than_the_others() {
        let rates = |first, epochs: [u64; 5]| {
            let schedule = Schedule::Step { every: 30, gamma: 0.1, first };
            let at = |epoch| At { epoch, step: 0, n_epochs: 240, n_steps: 1 };
            epochs.map(|epoch| (1e4 * schedule.rate(1.0, at(epoch))).round() as u32)
        };
        assert_eq!(rates(Some(150), [149, 150, 179, 180, 239]), [10000, 1000, 1000, 100, 10]);
        assert_eq!(rates(Some(10), [9, 10, 39, 40, 70]), [10000, 1000, 1000, 100, 10]);
        assert_eq!(rates(None, [29, 30, 59, 60, 90]), [10000, 1000, 1000, 100, 10]);
    }

    #[test]
    fn the_shortest_cycles_are_finite() {
        let one_cycle: Schedule = serde_json::from_str("{\"kind\":\"one-cycle\"}").unwrap();
        for n_epochs in 1..20 {
            for epoch in 0..n_epochs {
                let rate = one_cycle.rate(0.1, At { epoch, step: 0, n_epochs, n_steps: 1 });
                assert!(rate > 0.0 && rate <= 0.1, "{epoch} of {n_epochs}: {rate}");
            }
        }
    }

    #[test]
    fn settings_of_another_kind_are_refused() {
        let read = serde_json::from_str::<Schedule>;
        assert_eq!(read("{\"kind\":\"constant\"}").unwrap(), Schedule::default());
        let error = read("{\"kind\":\"constant\",\"gamma\":0.9}").unwrap_err().to_string();
        assert!(error.contains("unknown field `gamma`"), "{error}");
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let one_cycle = |pct_start, div_factor, final_div_factor| Schedule::OneCycle {
            pct_start,
            div_factor,
            final_div_factor,
            anneal: Anneal::Cosine,
        };
        for schedule in [
            Schedule::Exponential { gamma: 0.0 },
            Schedule::Exponential { gamma: f64::NAN },
            Schedule::Step { every: 0, gamma: 0.1, first: None },
            Schedule::Step { every: 1, gamma: 0.1, first: Some(0) },
            Schedule::Cosine { warmup: 4 },
            Schedule::KerasDecay { decay: -1e-6 },
            one_cycle(1.0, 25.0, 1e4),
            one_cycle(0.3, 0.0, 1e4),
            one_cycle(0.3, 25.0, f64::INFINITY),
        ] {
            assert!(schedule.check(3).is_err(), "{schedule:?}");
        }
    }
}
