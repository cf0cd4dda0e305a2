//! Suites and trainings that are made by programs, not read from files.

use std::collections::BTreeMap;

use kd_data::{Augment, DataSpec};
use kd_models::ModelSpec;
use kd_models::weights::Naming;
use kd_train::Plan;

use super::file::{Student, Suite, TrainingFile};
use super::holdout::Holdout;

impl Suite {
    /// Trainings on `data` by `plan`, and nothing else.
    pub fn new(
        suite: impl Into<String>,
        data: DataSpec,
        plan: Plan,
        training: Vec<TrainingFile>,
    ) -> Self {
        Self {
            suite: suite.into(),
            data,
            synthetic: None,
            normalize: None,
            exact_conv: false,
            holdout: Holdout::default(),
            plan,
            augment: Augment::default(),
            preset: BTreeMap::new(),
            training,
            readings: None,
            evaluation: Vec::new(),
            census: None,
            attack: Vec::new(),
            audit: Vec::new(),
        }
    }
}

impl TrainingFile {
    /// Students without a teacher, by the suite's plan.
    pub fn new(name: impl Into<String>, model: ModelSpec, student: Vec<Student>) -> Self {
        Self {
            name: name.into(),
            model,
            teacher: None,
            teacher_weights: None,
            teacher_model: None,
            teacher_naming: Naming::default(),
            teacher_logits: None,
            teachers: Vec::new(),
            average: None,
            omit_class: None,
            transfer: None,
            n_train: None,
            plan: None,
            choose: None,
            augment: None,
            soft_targets: None,
            init: None,
            init_weights: None,
            init_naming: Naming::default(),
            freeze: Vec::new(),
            learning_rate_of: BTreeMap::new(),
            perturb: None,
            student,
            grid: None,
        }
    }
}
