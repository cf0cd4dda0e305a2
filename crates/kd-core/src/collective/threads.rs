//! Ranks that are threads of one process.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use parking_lot::Mutex;

use super::Collective;
use crate::{Error, Result};

/// A rank that is a thread.
#[derive(Debug)]
struct Thread {
    rank: usize,
    /// To and from each rank.
    sums: Vec<Line<f64>>,
    values: Vec<Line<f32>>,
}

/// The way to another rank and back.
#[derive(Debug)]
struct Line<T> {
    to: Sender<Vec<T>>,
    from: Mutex<Receiver<Vec<T>>>,
}

/// Calls `work` as each of `n` ranks, in threads that compute alone; returns what each came to.
///
/// # Errors
/// [`Error::Config`] when the threads cannot be started.
///
/// # Panics
/// When `work` does.
pub fn on_ranks<R: Send>(
    n: usize,
    work: impl Fn(Arc<dyn Collective>) -> R + Sync,
) -> Result<Vec<R>> {
    let pool = |_| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        pool.map_err(|e| Error::config("ranks", format!("cannot start a thread: {e}")))
    };
    let pools = (0..n).map(pool).collect::<Result<Vec<_>>>()?;
    let threads = lines(n).into_iter().zip(lines(n)).enumerate();
    let threads: Vec<_> =
        threads.map(|(rank, (sums, values))| Thread { rank, sums, values }).collect();
    std::thread::scope(|scope| {
        let start = |(thread, pool): (Thread, rayon::ThreadPool)| {
            let work = &work;
            scope.spawn(move || pool.install(|| work(Arc::new(thread))))
        };
        let running: Vec<_> = threads.into_iter().zip(pools).map(start).collect();
        let joined = running.into_iter().map(|thread| thread.join());
        Ok(joined.map(|r| r.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect())
    })
}

/// For each of `n` ranks its lines to all.
fn lines<T>(n: usize) -> Vec<Vec<Line<T>>> {
    let mut to: Vec<Vec<Sender<Vec<T>>>> = (0..n).map(|_| Vec::new()).collect();
    let mut from: Vec<Vec<Receiver<Vec<T>>>> = (0..n).map(|_| Vec::new()).collect();
    for sender in &mut to {
        for receiver in &mut from {
            let (send, receive) = channel();
            sender.push(send);
            receiver.push(receive);
        }
    }
    let line = |(to, from)| Line { to, from: Mutex::new(from) };
    let of_rank = |(to, from): (Vec<_>, Vec<_>)| to.into_iter().zip(from).map(line).collect();
    to.into_iter().zip(from).map(of_rank).collect()
}

impl<T: Clone> Line<T> {
    fn swap(&self, other: usize, sent: &[T]) -> Result<Vec<T>> {
        let gone = || Error::Rank { rank: other, reason: "has ended".into() };
        self.to.send(sent.to_vec()).map_err(|_| gone())?;
        self.from.lock().recv().map_err(|_| gone())
    }
}

impl Collective for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn n_ranks(&self) -> usize {
        self.sums.len()
    }

    fn swap_sums(&self, other: usize, sums: &[f64]) -> Result<Vec<f64>> {
        self.sums[other].swap(other, sums)
    }

    fn swap_values(&self, other: usize, values: &[f32], received: &mut [f32]) -> Result<()> {
        received.copy_from_slice(&self.values[other].swap(other, values)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_swap_what_they_have() {
        let work = |ranks: Arc<dyn Collective>| {
            let (rank, other) = (ranks.rank(), ranks.rank() ^ 1);
            let mut received = [0.0];
            ranks.swap_values(other, &[rank as f32 + 0.5], &mut received).unwrap();
            (ranks.n_ranks(), ranks.swap_sums(other, &[rank as f64]).unwrap(), received)
        };
        assert_eq!(on_ranks(2, work).unwrap(), [(2, vec![1.0], [1.5]), (2, vec![0.0], [0.5])]);
    }

    #[test]
    fn who_waits_for_a_rank_that_has_ended_is_told() {
        let work = |ranks: Arc<dyn Collective>| match ranks.rank() {
            0 => None,
            _ => Some(ranks.swap_sums(0, &[1.0]).unwrap_err().to_string()),
        };
        assert_eq!(on_ranks(2, work).unwrap()[1].as_deref(), Some("rank 0: has ended"));
    }
}
