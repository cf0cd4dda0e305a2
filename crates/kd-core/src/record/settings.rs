//! What a suite file chose for a training or an attack, as records keep it.
//!
//! What reports tell apart has a field of its own; every other setting keeps its name and value, so
//! that an objective or attack which is added later is recorded, and shown, in full.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Norm;
use crate::ops::Reduction;
use crate::{Error, Result};

/// Settings by name.
pub type Settings = BTreeMap<String, Setting>;

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// Not set.
    None,
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Count(i64),
    /// Any other number.
    Number(f64),
    /// A word.
    Text(String),
    /// Several values.
    List(Vec<Setting>),
    /// Settings of a part.
    Group(Settings),
}

/// Objective of a training: `{"kind":"distill","alpha":0.5,"temperature":5.0}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Which one.
    pub kind: ObjectiveKind,
    /// Weight of the teacher's term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// What the logits are divided by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// How the teacher's term is scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduction: Option<Reduction>,
    /// All other settings.
    #[serde(flatten)]
    pub others: Settings,
}

/// The objectives that reports tell apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    /// From the labels alone.
    #[default]
    Labels,
    /// From labels and a teacher.
    Distill,
    /// Any other, by its name in suite files.
    #[serde(untagged)]
    Other(String),
}

/// Settings of an attack: `{"kind":"pgd","eps":0.1,"n_steps":40}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackSettings {
    /// Which one.
    pub kind: AttackKind,
    /// The distance that it bounds, where that can be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// Its radius, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// What it makes larger, where that can be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<AttackObjective>,
    /// How far beyond the border it looks (Carlini and Wagner's confidence).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kappa: Option<f64>,
    /// All other settings.
    #[serde(flatten)]
    pub others: Settings,
}

/// The attacks that reports tell apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttackKind {
    /// One step along the gradient's sign.
    Fgsm,
    /// Many steps, each back into the ball.
    Pgd,
    /// Carlini and Wagner's.
    Cw,
    /// Without gradients.
    Square,
    /// An ensemble.
    Autoattack,
    /// Any other, by its name in suite files.
    #[serde(untagged)]
    Other(String),
}

/// What an attack makes larger: a function of the logits divided by a temperature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttackObjective {
    /// Which function.
    pub kind: AttackLoss,
    /// What the logits are divided by.
    pub temperature: f64,
}

/// The functions that reports tell apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttackLoss {
    /// Cross entropy with the label.
    #[default]
    CrossEntropy,
    /// Margin of the logits.
    Margin,
    /// Difference of logits ratio.
    Dlr,
    /// Any other, by its name in suite files.
    #[serde(untagged)]
    Other(String),
}

impl Default for AttackObjective {
    /// Cross entropy of the logits as they are.
    fn default() -> Self {
        Self { kind: AttackLoss::CrossEntropy, temperature: 1.0 }
    }
}

impl Objective {
    /// The objective that serializes like `spec`.
    ///
    /// # Errors
    /// [`Error::Config`] when it has no `kind`.
    pub fn of(spec: &impl Serialize) -> Result<Self> {
        recorded("loss", spec)
    }
}

impl AttackSettings {
    /// The attack that serializes like `spec`.
    ///
    /// # Errors
    /// [`Error::Config`] when it has no `kind`.
    pub fn of(spec: &impl Serialize) -> Result<Self> {
        recorded("attack", spec)
    }
}

impl AttackKind {
    /// Its name in suite files.
    pub fn name(&self) -> &str {
        match self {
            Self::Fgsm => "fgsm",
            Self::Pgd => "pgd",
            Self::Cw => "cw",
            Self::Square => "square",
            Self::Autoattack => "autoattack",
            Self::Other(name) => name,
        }
    }
}

impl AttackLoss {
    /// Its name in suite files.
    pub fn name(&self) -> &str {
        match self {
            Self::CrossEntropy => "cross-entropy",
            Self::Margin => "margin",
            Self::Dlr => "dlr",
            Self::Other(name) => name,
        }
    }
}

/// By way of text, where an f32 of 0.1 is 0.1 and not the nearest f64.
fn recorded<T: DeserializeOwned>(field: &str, spec: &impl Serialize) -> Result<T> {
    let refused = |e: serde_json::Error| Error::config(field, e.to_string());
    let text = serde_json::to_string(spec).map_err(refused)?;
    serde_json::from_str(&text).map_err(refused)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_was_written_is_read_and_written_again() {
        let distill = json!({"kind": "distill", "alpha": 0.5, "temperature": 4.0,
            "reduction": "batch-mean", "parts": ["a", "b"], "n": 3, "deep": {"on": true, "x": null}});
        let objective = Objective::of(&distill).unwrap();
        assert_eq!((objective.kind.clone(), objective.alpha), (ObjectiveKind::Distill, Some(0.5)));
        assert_eq!(objective.others["n"], Setting::Count(3));
        assert_eq!(serde_json::to_value(&objective).unwrap(), distill);
        let pgd = json!({"kind": "pgd", "eps": 0.1, "norm": "linf", "n_steps": 40,
            "objective": {"kind": "dlr", "temperature": 1.0}});
        let settings = AttackSettings::of(&pgd).unwrap();
        assert_eq!((settings.kind.name(), settings.norm), ("pgd", Some(Norm::Linf)));
        assert_eq!(serde_json::to_value(&settings).unwrap(), pgd);
    }

    #[test]
    fn unknown_kinds_keep_their_names() {
        for kind in ["mi-fgsm", "label-smoothing"] {
            let value = json!({"kind": kind});
            let written = |value: &Value| -> [Value; 2] {
                let objective = Objective::of(value).unwrap();
                let attack = AttackSettings::of(value).unwrap();
                [serde_json::to_value(objective).unwrap(), serde_json::to_value(attack).unwrap()]
            };
            assert_eq!(written(&value), [value.clone(), value]);
        }
        assert!(Objective::of(&json!({"alpha": 1.0})).is_err());
    }
}
