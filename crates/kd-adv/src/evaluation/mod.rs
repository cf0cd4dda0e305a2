//! Figures of robustness, all from one row an image and attack ([`Outcome`]).

mod census;
mod outcome;
mod summary;
mod transfer;

pub use census::census;
pub(crate) use outcome::round_to_byte;
pub use outcome::{Outcome, correct_rows, observe};
pub use summary::{at_radii, count, summarize, worst_cases};
pub use transfer::transfer;
