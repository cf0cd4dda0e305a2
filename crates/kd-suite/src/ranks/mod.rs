//! The processes that train one network together, as `mpirun` starts them.
//!
//! Key decision: a rank that fails ends all others at once, and one that falls silent is found by its
//! neighbour; no rank waits for one that is gone.

#[cfg(feature = "mpi")]
mod heartbeat;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "mpi")]
mod quiet;

use std::sync::Arc;

use kd_core::{Collective, Error, Result, Single};

/// This process among those that `mpirun` has started together, or alone.
#[derive(Debug)]
pub struct World {
    ranks: Arc<dyn Collective>,
    #[cfg(feature = "mpi")]
    joined: Option<mpi::Joined>,
}

impl World {
    /// Joins the other processes, where there are any.
    ///
    /// # Errors
    /// [`Error::Config`] for several processes and a program without MPI, or an MPI that allows one thread.
    pub fn join() -> Result<Self> {
        #[cfg(feature = "mpi")]
        if ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"].into_iter().any(is_set) {
            let joined = mpi::Joined::new()?;
            if joined.ranks().rank() > 0 {
                quiet::be_quiet()?;
            }
            return Ok(Self { ranks: joined.ranks(), joined: Some(joined) });
        }
        if let Some(n) = n_started() {
            let reason = format!(
                "{n} processes were started together, and this program was built without the feature \
                 `mpi`: cargo build --release --features mpi"
            );
            return Err(Error::config("mpirun", reason));
        }
        Ok(Self {
            ranks: Arc::new(Single),
            #[cfg(feature = "mpi")]
            joined: None,
        })
    }

    /// All of them.
    pub fn ranks(&self) -> &Arc<dyn Collective> {
        &self.ranks
    }

    /// Says what is wrong, and ends all processes with the exit code `code`, where there are others; else
    /// does nothing.
    #[cfg_attr(not(feature = "mpi"), expect(unused_variables, reason = "there are no others"))]
    pub fn fail(&self, reason: &str, code: u8) {
        #[cfg(feature = "mpi")]
        if let Some(joined) = self.joined.as_ref().filter(|_| self.ranks.n_ranks() > 1) {
            let rank = self.ranks.rank();
            if rank > 0 {
                // What all find at the same time the first one says, and ends the others meanwhile.
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
            quiet::tell(&format!("rank {rank}: {reason}"));
            joined.abort(code);
        }
    }
}

#[cfg(feature = "mpi")]
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}

/// How many processes were started together, if there are several.
fn n_started() -> Option<u64> {
    let says = |variable| std::env::var(variable).ok()?.parse().ok();
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].into_iter().find_map(says).filter(|n| *n > 1)
}
