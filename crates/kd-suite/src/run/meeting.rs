//! Where several processes that run one spec wait for each other.

use kd_core::{Error, Result, Shards};

use super::context::Context;

/// Tells the other processes that all trainings were finished before.
pub(super) fn pass(context: &Context<'_>) -> Result<()> {
    let n = context.spec.seeds as usize * context.spec.training.len();
    (0..n).try_for_each(|_| meet(context, Place::Done).map(drop))
}

/// Where processes meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before a training, whose state is in its folder.
    Begin,
    /// Before a training that was finished before.
    Done,
    /// After all.
    End,
}

/// Waits for all processes, which must run the same spec; returns where the first one is.
///
/// # Errors
/// [`Error::Config`] when another one runs another spec, or sees other data; [`Error::Rank`].
pub(super) fn meet(context: &Context<'_>, own: Place) -> Result<Place> {
    let ranks = &context.setting.ranks;
    let all = Shards::new(ranks.n_ranks(), ranks.clone())?;
    let run = [number(context.spec_hash), context.spec.seeds as f64];
    let first = [&run[..], &[own as u8 as f64]].concat();
    let said = if ranks.rank() == 0 { first } else { vec![0.0; 3] };
    let said = all.sum(vec![said])?;
    let is_another = said.iter().zip(run).any(|(said, own)| said.to_bits() != own.to_bits());
    if all.any(is_another)? {
        let reason = "the processes do not run the same command on the same data";
        return Err(Error::config("mpirun", reason));
    }
    Ok([Place::Begin, Place::Done, Place::End][said[2] as usize])
}

/// The beginning of a digest as a number that f64 has exactly.
fn number(digest: &str) -> f64 {
    let begin: String = digest.chars().take(12).collect();
    u64::from_str_radix(&begin, 16).unwrap_or(0) as f64
}
