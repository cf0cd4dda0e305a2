//! Signs of life that each rank sends to the next one.
//!
//! Key decision: `mpirun` ends all processes when one dies, but not every launcher does, and a machine that
//! falls off the network dies unseen. Each rank listens to the one before it, and ends all when that falls
//! silent: a ring, so that the signs are as few on a thousand machines as on two.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::mpi::Tag;
use ::mpi::point_to_point::{Destination, Source};
use ::mpi::topology::{Communicator, SimpleCommunicator};

const SIGN: Tag = 3;

/// Between two signs, and after how long a silence a rank counts as lost.
const EVERY: Duration = Duration::from_secs(1);
const LOST_AFTER: Duration = Duration::from_secs(20);
/// Between two looks for a sign.
const LOOK: Duration = Duration::from_millis(50);

/// "I live", and the last one.
const ALIVE: u8 = 1;
const LEAVING: u8 = 0;

/// The exit code of a training that can be gone on with.
const TRY_AGAIN: i32 = 75;

/// Sends and expects signs until it is dropped; then all ranks leave together.
pub(super) struct Heartbeat {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Where there are other ranks.
    pub(super) fn start(rank: usize, n_ranks: usize) -> Option<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        let thread = (n_ranks > 1).then(|| std::thread::spawn(move || beat(rank, n_ranks, &end)));
        thread.map(|thread| Self { ended, thread: Some(thread) })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say but that a rank is lost, and then it does not come back.
            let _ = thread.join();
        }
    }
}

fn beat(rank: usize, n_ranks: usize, ended: &AtomicBool) {
    let world = SimpleCommunicator::world();
    let before = (rank + n_ranks - 1) % n_ranks;
    let next = world.process_at_rank(((rank + 1) % n_ranks) as i32);
    let source = world.process_at_rank(before as i32);
    let (mut heard, mut sent, mut both) = (Instant::now(), None::<Instant>, [false; 2]);
    while both != [true; 2] {
        if let Some((message, _)) = source.immediate_matched_probe_with_tag(SIGN) {
            let (sign, _) = message.matched_receive::<u8>();
            (heard, both[0]) = (Instant::now(), sign == LEAVING);
        }
        let leaves = ended.load(Ordering::Relaxed) && !both[1];
        let is_due = sent.is_none_or(|sent| sent.elapsed() >= EVERY) && !both[1];
        if leaves || is_due {
            next.send_with_tag(if leaves { &LEAVING } else { &ALIVE }, SIGN);
            (sent, both[1]) = (Some(Instant::now()), leaves);
        }
        if !both[0] && heard.elapsed() > LOST_AFTER {
            lost(before);
        }
        std::thread::sleep(LOOK);
    }
}

/// Ends all ranks.
fn lost(rank: usize) -> ! {
    let seconds = LOST_AFTER.as_secs();
    super::quiet::tell(&format!(
        "rank {rank} has not been heard of for {seconds} s, and the training ends; the same command goes on \
         from the last checkpoint"
    ));
    SimpleCommunicator::world().abort(TRY_AGAIN)
}
