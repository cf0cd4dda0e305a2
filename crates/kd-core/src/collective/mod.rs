//! Processes that train one network together.
//!
//! Key decision: two ranks swap equally much, and there is no other operation. All that is joined over
//! ranks is built of swaps in one place ([`crate::Shards`]), so that its order, and with it every bit, is
//! the same for threads, for MPI, and for what else brings numbers from one process to another.

mod threads;

use std::fmt::Debug;

use crate::{Error, Result};

pub use threads::on_ranks;

/// One of several processes (or threads) that train one network together: a rank.
///
/// Sums and values travel side by side: they may be swapped at the same time, each by one thread.
pub trait Collective: Debug + Send + Sync {
    /// Which one this is, counted from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn n_ranks(&self) -> usize;

    /// Sends `sums` to rank `other`, and returns what that sends: as many.
    ///
    /// # Errors
    /// [`Error::Rank`] when the other one is gone.
    fn swap_sums(&self, other: usize, sums: &[f64]) -> Result<Vec<f64>>;

    /// Sends `values` to rank `other`, and writes what that sends to `received`.
    ///
    /// # Errors
    /// As [`Collective::swap_sums`].
    fn swap_values(&self, other: usize, values: &[f32], received: &mut [f32]) -> Result<()>;
}

/// The only rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Single;

impl Single {
    fn nobody(other: usize) -> Error {
        Error::Rank { rank: other, reason: "there is only one rank".into() }
    }
}

impl Collective for Single {
    fn rank(&self) -> usize {
        0
    }

    fn n_ranks(&self) -> usize {
        1
    }

    fn swap_sums(&self, other: usize, _sums: &[f64]) -> Result<Vec<f64>> {
        Err(Self::nobody(other))
    }

    fn swap_values(&self, other: usize, _: &[f32], _: &mut [f32]) -> Result<()> {
        Err(Self::nobody(other))
    }
}
