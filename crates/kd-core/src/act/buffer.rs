//! Memory for activations that goes from one step of a training to the next.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use parking_lot::Mutex;

use crate::tasks;

/// Values that one thread copies at a time.
const COPIED: usize = 1 << 16;

/// f32 values whose memory comes from a pool and returns to it: fresh memory would be zeroed, and
/// fetched from the operating system page by page, in every step.
#[derive(Debug, Default)]
pub struct Buffer {
    /// At least `len` values: memory that was longer in an earlier use keeps its length.
    memory: Vec<f32>,
    len: usize,
}

impl Buffer {
    /// `len` values left from an earlier use: whoever takes them writes all.
    pub(crate) fn take(len: usize) -> Self {
        let kept = POOL.lock().take(len);
        let mut buffer = Self { memory: kept.unwrap_or_else(|| vec![0.0; len]), len };
        if cfg!(test) {
            buffer.fill(f32::NAN);
        }
        buffer
    }

    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let mut buffer = Self::take(len);
        buffer.fill(0.0);
        buffer
    }

    /// A copy of `values`.
    pub(crate) fn copy_of(values: &[f32]) -> Self {
        let mut buffer = Self::take(values.len());
        let parts = buffer.chunks_mut(COPIED).zip(values.chunks(COPIED));
        tasks::each(parts, |(to, from)| to.copy_from_slice(from));
        buffer
    }

    /// The values, whose memory does not return to the pool.
    pub(crate) fn into_vec(mut self) -> Vec<f32> {
        let mut values = std::mem::take(&mut self.memory);
        values.truncate(self.len);
        values
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.memory.is_empty() {
            POOL.lock().give(std::mem::take(&mut self.memory));
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[..self.len]
    }
}

/// Runs of networks after which memory that nobody took is given back to the operating system.
const KEPT_RUNS: u64 = 64;

/// Memory that is not in use, by length, with the number of the run that returned it.
struct Pool {
    free: BTreeMap<usize, Vec<(Vec<f32>, u64)>>,
    n_runs: u64,
}

impl Pool {
    const fn new() -> Self {
        Self { free: BTreeMap::new(), n_runs: 0 }
    }

    /// The shortest memory of which `len` values fill at least a quarter.
    fn take(&mut self, len: usize) -> Option<Vec<f32>> {
        let (&length, of_length) = self.free.range_mut(len..=4 * len).next()?;
        let memory = of_length.pop().map(|(memory, _)| memory);
        if of_length.is_empty() {
            self.free.remove(&length);
        }
        memory
    }

    fn give(&mut self, memory: Vec<f32>) {
        let run = self.n_runs;
        self.free.entry(memory.len()).or_default().push((memory, run));
    }

    /// Counts a run; what has not been used for long.
    fn next_run(&mut self) -> Vec<(Vec<f32>, u64)> {
        self.n_runs += 1;
        let mut old = Vec::new();
        for buffers in self.free.values_mut() {
            let n_old = buffers.partition_point(|(_, run)| run + KEPT_RUNS < self.n_runs);
            old.extend(buffers.drain(..n_old));
        }
        self.free.retain(|_, buffers| !buffers.is_empty());
        old
    }
}

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

/// Counts a run, and frees what has not been used for long, such as a finished training's memory.
pub(crate) fn next_run() {
    let old = POOL.lock().next_run();
    // When the pool is no longer locked.
    drop(old);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_memory_that_is_not_much_too_long_is_taken() {
        let mut pool = Pool::new();
        [12, 8, 9].into_iter().for_each(|len| pool.give(vec![0.0; len]));
        let mut taken = |len| pool.take(len).map(|memory| memory.len());
        assert_eq!([taken(1), taken(13)], [None; 2]);
        assert_eq!([taken(2), taken(8), taken(8), taken(8)], [Some(8), Some(9), Some(12), None]);
    }

    #[test]
    fn memory_is_freed_when_long_unused() {
        let mut pool = Pool::new();
        pool.give(vec![0.0; 8]);
        let n_old: usize = (0..KEPT_RUNS).map(|_| pool.next_run().len()).sum();
        assert_eq!(n_old, 0);
        pool.give(vec![0.0; 8]);
        assert_eq!(pool.next_run(), [(vec![0.0; 8], 0)]);
        assert!(pool.take(8).is_some() && pool.free.is_empty());
    }

    #[test]
    fn a_buffer_has_its_own_length_in_longer_memory() {
        drop(Buffer::zeros(40));
        let buffer = Buffer::copy_of(&[1.0; 30]);
        assert_eq!(buffer[..], [1.0; 30]);
        assert_eq!(buffer.into_vec(), [1.0; 30]);
    }

    #[test]
    fn zeros_are_zero_in_used_memory() {
        drop(Buffer::copy_of(&[1.0; 50]));
        assert_eq!(Buffer::zeros(50)[..], [0.0; 50]);
    }

    #[test]
    fn memory_returns_to_the_pool_and_is_taken_from_it() {
        // No other test comes near this length.
        const LEN: usize = 1 << 24;
        let is_free = || POOL.lock().free.contains_key(&LEN);
        let returned = || {
            drop(Buffer::take(LEN));
            is_free()
        };
        // Other tests' runs could free it in between, hardly ever three times.
        assert!((0..3).any(|_| returned()));
        let _buffer = Buffer::take(LEN);
        assert!(!is_free());
    }
}
