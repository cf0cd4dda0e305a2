//! Ranks that are processes of MPI.
//!
//! Key decision: a rank that waits sleeps, for sums after a short while, for gradients at once. MPI's own
//! waiting asks the network again and again, and takes the core from the threads that compute.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::mpi::datatype::Equivalence;
use ::mpi::environment::Universe;
use ::mpi::point_to_point::{Destination, Source};
use ::mpi::topology::{Communicator, SimpleCommunicator};
use ::mpi::{Tag, Threading};
use kd_core::{Collective, Error, Result};

use super::heartbeat::Heartbeat;

/// What messages are called.
const SUMS: Tag = 1;
const VALUES: Tag = 2;

/// This process, until it leaves the others.
pub(super) struct Joined {
    ranks: Arc<Mpi>,
    /// Ends before MPI does.
    heartbeat: Option<Heartbeat>,
    _universe: Universe,
}

impl Joined {
    /// Joins the processes that were started together.
    ///
    /// # Errors
    /// [`Error::Config`] for an MPI that does not let several threads send.
    pub(super) fn new() -> Result<Self> {
        let reason = "MPI does not start here";
        let started = ::mpi::initialize_with_threading(Threading::Multiple);
        let (universe, threading) = started.ok_or_else(|| Error::config("mpirun", reason))?;
        if threading < Threading::Multiple {
            let reason = "this MPI lets only one thread send; build it with MPI_THREAD_MULTIPLE";
            return Err(Error::config("mpirun", reason));
        }
        let world = SimpleCommunicator::world();
        let (rank, n_ranks) = (world.rank() as usize, world.size() as usize);
        let ranks = Arc::new(Mpi { rank, n_ranks });
        Ok(Self { ranks, heartbeat: Heartbeat::start(rank, n_ranks), _universe: universe })
    }

    pub(super) fn ranks(&self) -> Arc<dyn Collective> {
        self.ranks.clone()
    }

    /// Ends all processes.
    pub(super) fn abort(&self, code: u8) -> ! {
        SimpleCommunicator::world().abort(code.into())
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The others would wait for this one.
            SimpleCommunicator::world().abort(1);
        }
        drop(self.heartbeat.take());
    }
}

impl std::fmt::Debug for Joined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joined").field("ranks", &self.ranks).finish()
    }
}

/// A process.
#[derive(Debug)]
struct Mpi {
    rank: usize,
    n_ranks: usize,
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn n_ranks(&self) -> usize {
        self.n_ranks
    }

    fn swap_sums(&self, other: usize, sums: &[f64]) -> Result<Vec<f64>> {
        let mut received = vec![0.0; sums.len()];
        swap(other, (SUMS, EAGER), sums, &mut received);
        Ok(received)
    }

    fn swap_values(&self, other: usize, values: &[f32], received: &mut [f32]) -> Result<()> {
        swap(other, (VALUES, Duration::ZERO), values, received);
        Ok(())
    }
}

/// Where a message fails, MPI ends the program.
fn swap<T: Equivalence>(
    other: usize,
    (tag, eager): (Tag, Duration),
    sent: &[T],
    received: &mut [T],
) {
    let world = SimpleCommunicator::world();
    let other = world.process_at_rank(other as i32);
    ::mpi::request::scope(|scope| {
        let mut receiving = Some(other.immediate_receive_into_with_tag(scope, received, tag));
        let mut sending = Some(other.immediate_send_with_tag(scope, sent, tag));
        let started = Instant::now();
        loop {
            receiving = receiving.and_then(|request| request.test().err());
            sending = sending.and_then(|request| request.test().err());
            if receiving.is_none() && sending.is_none() {
                return;
            }
            rest(started.elapsed(), eager);
        }
    });
}

/// How long it is asked again and again for sums.
const EAGER: Duration = Duration::from_micros(200);
/// At which intervals it is asked then.
const SHORT: Duration = Duration::from_micros(20);
const LONG: Duration = Duration::from_millis(1);

/// Waits a little, longer after a long time.
fn rest(waited: Duration, eager: Duration) {
    match waited {
        waited if waited < eager => std::thread::yield_now(),
        waited if waited < 100 * LONG => std::thread::sleep(SHORT),
        _ => std::thread::sleep(LONG),
    }
}
