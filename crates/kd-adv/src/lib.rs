#![doc = include_str!("../README.md")]

mod adversarial;
mod attack;
mod attacks;
mod audit;
#[cfg(test)]
mod closed_form;
#[cfg(test)]
mod conformance;
mod evaluation;
mod examples;
mod objective;
mod pictures;
mod runner;
mod spec;
#[cfg(test)]
mod testing;
mod victim;

pub use adversarial::AdversarialTraining;
pub use attack::Attack;
pub use attacks::*;
pub use audit::Audit;
pub use evaluation::{
    Outcome, at_radii, census, correct_rows, count, observe, summarize, transfer, worst_cases,
};
pub use examples::Examples;
pub use kd_core::Norm;
pub use objective::{Objective, ObjectiveKind};
pub use pictures::{encode_png, picture_grid};
pub use runner::{Attacked, attack};
pub use spec::AttackSpec;
pub use victim::{Pullback, Victim};
