//! Parts of student and teacher that objectives compare.

use candle_core::Tensor;
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::LossInput;

/// A part of the student and one of the teacher, in text: `PART` where both have the same name, else
/// `STUDENT=TEACHER`. Names are those of nodes and of stages ([`kd_core::Graph::stages`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Pair {
    /// The student's part.
    pub student: String,
    /// The teacher's.
    pub teacher: String,
}

impl Pair {
    /// What the two make of the images; the teacher's as a constant.
    pub(super) fn of(&self, input: &LossInput<'_>) -> Result<[Tensor; 2]> {
        let theirs = input.teacher_tap(&self.teacher)?.detach();
        Ok([input.tap(&self.student)?.clone(), theirs])
    }
}

impl From<&str> for Pair {
    fn from(text: &str) -> Self {
        let (student, teacher) = text.split_once('=').unwrap_or((text, text));
        Self { student: student.into(), teacher: teacher.into() }
    }
}

impl From<String> for Pair {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Pair> for String {
    fn from(Pair { student, teacher }: Pair) -> Self {
        if student == teacher { student } else { format!("{student}={teacher}") }
    }
}

/// `stage:1`, `stage:2` and `stage:3`: those of a ResNet for CIFAR.
pub(super) fn stages() -> Vec<Pair> {
    ["stage:1", "stage:2", "stage:3"].map(Pair::from).into()
}

/// Refuses an objective that compares nothing.
pub(super) fn check(pairs: &[Pair]) -> Result<()> {
    match pairs {
        [] => Err(Error::config("taps", "needs one part at least")),
        _ => Ok(()),
    }
}
