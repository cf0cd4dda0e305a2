//! How much ranks have sent to each other, and how long they have waited.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Result;

/// What is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Small sums, for which the training waits: those of batch norm, and counts.
    Sums,
    /// Gradients, while the backward goes on.
    Values,
    /// Gradients, for which the backward has waited in the end.
    Rest,
}

/// Counts of each lane, of this rank.
#[derive(Debug, Default)]
pub struct Traffic([Counts; 3]);

#[derive(Debug, Default)]
struct Counts {
    messages: AtomicU64,
    bytes: AtomicU64,
    nanos: AtomicU64,
}

/// What one lane has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Messages.
    pub messages: u64,
    /// Bytes of them; as many were received.
    pub bytes: u64,
    /// Time from sending them to having those of the other.
    pub waited: Duration,
}

impl Traffic {
    /// So far.
    pub fn of(&self, lane: Lane) -> Sent {
        let Counts { messages, bytes, nanos } = &self.0[lane as usize];
        let [messages, bytes, nanos] = [messages, bytes, nanos].map(|n| n.load(Ordering::Relaxed));
        Sent { messages, bytes, waited: Duration::from_nanos(nanos) }
    }

    /// Counts a message of so many bytes, and the time that `work` takes.
    pub(crate) fn timed<T>(
        &self,
        lane: Lane,
        n_bytes: usize,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let Counts { messages, bytes, nanos } = &self.0[lane as usize];
        let started = Instant::now();
        let result = work();
        messages.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(n_bytes as u64, Ordering::Relaxed);
        nanos.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }
}
