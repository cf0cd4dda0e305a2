//! Several objectives for a student, of which held-out images choose one.

use kd_core::{Error, Result};
use kd_train::{Keep, LossSpec, Plan};

use super::file::{Preset, Student, Suite, TrainingFile};
use super::spec::{ChooseSpec, StudentSpec, TrainingSpec};

/// Seed of the short training in which candidates are compared: it is no seed of a run, so that no
/// student is judged on the batches and first weights for which its objective was chosen.
pub(crate) const SEED: u64 = 1_000_000;

/// The students of `training`, each with its objective or its candidates.
///
/// # Errors
/// [`Error::Config`] for a student with neither or both.
pub(super) fn student(training: &str, file: &Student) -> Result<StudentSpec> {
    let refused = |reason: &str| {
        Err(Error::config("student", format!("`{}` of `{training}` {reason}", file.name)))
    };
    let (loss, losses) = match (&file.loss, &file.losses[..]) {
        (Some(loss), []) | (None, [loss]) => (loss, &[][..]),
        (None, [first, ..]) => (first, &file.losses[..]),
        (None, []) => return refused("has no `loss`"),
        (Some(_), _) => return refused("has `loss` and `losses`; give one of them"),
    };
    Ok(StudentSpec {
        name: file.name.clone(),
        claim: file.claim.clone(),
        loss: loss.clone(),
        losses: losses.to_vec(),
        perturb: file.perturb.clone(),
    })
}

/// How the objectives of `students` are chosen, of which some have several.
///
/// # Errors
/// [`Error::Config`] where that is not said, or not possible.
pub(super) fn resolve(
    (suite, preset): (&Suite, &Preset),
    file: &TrainingFile,
    (plan, students): (&Plan, &[StudentSpec]),
) -> Result<Option<ChooseSpec>> {
    let refused = |reason: String| Err(Error::config("choose", reason));
    let most = students.iter().max_by_key(|student| student.losses.len());
    let most = most.filter(|student| !student.losses.is_empty());
    let (choose, most) = match (&file.choose, most) {
        (None, None) => return Ok(None),
        (Some(_), None) => {
            return refused(format!("no student of `{}` has several `losses`", file.name));
        }
        (None, Some(student)) => {
            return refused(format!(
                "`{}` of `{}` has {} `losses`; say how one is chosen, such as \
                 `choose = {{ n_epochs = 3, n_candidates = 3 }}`",
                student.name,
                file.name,
                student.losses.len()
            ));
        }
        (Some(choose), Some(most)) => (choose, most),
    };
    if most.losses.len() > choose.n_candidates {
        return refused(format!(
            "`{}` of `{}` has {} candidates, more than n_candidates = {}, the budget of each",
            most.name,
            file.name,
            most.losses.len(),
            choose.n_candidates
        ));
    }
    if suite.holdout.is_none() {
        return refused(
            "candidates are compared on held-out images: give `holdout`, such as 0.1".into(),
        );
    }
    let n_epochs = preset.choose_epochs.unwrap_or(choose.n_epochs);
    let plan = Plan {
        n_epochs,
        schedule: choose.schedule.unwrap_or(plan.schedule),
        eval_every: n_epochs.max(1),
        eval_every_steps: None,
        keep: Keep::Last,
        patience: None,
        ..plan.clone()
    };
    plan.check()?;
    Ok(Some(ChooseSpec { seed: SEED, n_candidates: choose.n_candidates, plan }))
}

impl TrainingSpec {
    /// Its name, and that of the short training of its candidates.
    pub(super) fn names(&self) -> Vec<String> {
        let choice = self.choose.as_ref().map(|_| self.choice_name());
        std::iter::once(self.name.clone()).chain(choice).collect()
    }

    /// What the short training of its candidates is called.
    pub(crate) fn choice_name(&self) -> String {
        format!("{}-choice", self.name)
    }

    /// The short training of all candidates, in lockstep; nothing where there are none.
    pub(crate) fn choice(&self) -> Option<Self> {
        let choose = self.choose.as_ref()?;
        let student = self.student.iter().flat_map(candidates).collect();
        let (name, plan) = (self.choice_name(), choose.plan.clone());
        Some(Self { name, plan, student, choose: None, ..self.clone() })
    }

    /// This training, of which the student at each place learns from what `loss` says.
    pub(crate) fn with_losses(
        &self,
        loss: impl Fn(&StudentSpec) -> Result<LossSpec>,
    ) -> Result<Self> {
        let settled = |student: &StudentSpec| {
            Ok(StudentSpec { loss: loss(student)?, losses: Vec::new(), ..student.clone() })
        };
        let student = self.student.iter().map(settled).collect::<Result<_>>()?;
        Ok(Self { student, ..self.clone() })
    }
}

/// Each candidate as a student of its own: `dkd-1`, `dkd-2` and so on.
fn candidates(student: &StudentSpec) -> Vec<StudentSpec> {
    let one = |(i, loss): (usize, &LossSpec)| StudentSpec {
        name: format!("{}-{}", student.name, i + 1),
        claim: None,
        loss: loss.clone(),
        losses: Vec::new(),
        perturb: student.perturb.clone(),
    };
    student.losses.iter().enumerate().map(one).collect()
}
