//! Attacks on image classifiers, robustness evaluation, and an audit for gradient masking.
//!
//! Key decision: everything is in units of `[0, 1]` pixels, which is what networks take: their
//! normalization is inside them, so that no wrong mean can change an attack's result. And every
//! example's result is a function of that example alone.

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
mod norm;
mod objective;
mod pictures;
mod runner;
#[cfg(test)]
mod testing;
mod victim;

pub use adversarial::AdversarialTraining;
pub use attack::{Attack, AttackSpec};
pub use attacks::*;
pub use audit::Audit;
pub use evaluation::{
    Outcome, at_radii, census, correct_rows, observe, summarize, transfer, worst_cases,
};
pub use examples::Examples;
pub use norm::Norm;
pub use objective::{Objective, ObjectiveKind};
pub use pictures::{encode_png, picture_grid};
pub use runner::{Attacked, attack};
pub use victim::{Pullback, Victim};
