//! Memory for activations that goes from one step of a training to the next.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::tasks;

/// Values that one thread copies at a time.
const COPIED: usize = 1 << 16;

/// f32 values whose memory comes from a pool and returns to it: fresh memory would be zeroed, and
/// fetched from the operating system page by page, in every step.
#[derive(Debug, Default)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// `len` values left from an earlier use: whoever takes them writes all.
    pub(crate) fn take(len: usize) -> Self {
        let kept = pool().free.get_mut(&len).and_then(Vec::pop);
        let mut values = kept.map_or_else(|| vec![0.0; len], |(values, _)| values);
        if cfg!(test) {
            values.fill(f32::NAN);
        }
        Self(values)
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
        std::mem::take(&mut self.0)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            let values = std::mem::take(&mut self.0);
            let mut pool = pool();
            let entry = (values, pool.n_runs);
            pool.free.entry(entry.0.len()).or_default().push(entry);
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// Memory that is not in use, by length, with the number of the run that returned it.
struct Pool {
    free: BTreeMap<usize, Vec<(Vec<f32>, u64)>>,
    n_runs: u64,
}

/// Runs of networks after which memory that nobody took is given back to the operating system.
const KEPT_RUNS: u64 = 64;

static POOL: Mutex<Pool> = Mutex::new(Pool { free: BTreeMap::new(), n_runs: 0 });

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a run, and frees what has not been used for long, such as a finished training's memory.
pub(crate) fn next_run() {
    let mut pool = pool();
    pool.n_runs += 1;
    let n_runs = pool.n_runs;
    let mut old = Vec::new();
    for buffers in pool.free.values_mut() {
        let n_old = buffers.partition_point(|(_, run)| run + KEPT_RUNS < n_runs);
        old.extend(buffers.drain(..n_old));
    }
    pool.free.retain(|_, buffers| !buffers.is_empty());
    drop(pool);
    drop(old);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length that no other test uses.
    const LEN: usize = 7919;

    #[test]
    fn memory_returns_and_is_freed_when_long_unused() {
        let n_free = || pool().free.get(&LEN).map_or(0, Vec::len);
        let (a, b) = (Buffer::zeros(LEN), Buffer::copy_of(&[1.0; LEN]));
        assert!(a.iter().all(|v| *v == 0.0) && b[..] == [1.0; LEN]);
        let address = a.as_ptr();
        drop(a);
        assert_eq!(n_free(), 1);
        let again = Buffer::take(LEN);
        assert_eq!((again.as_ptr(), n_free()), (address, 0));
        assert_eq!(b.into_vec().len(), LEN);
        drop(again);
        (0..=KEPT_RUNS).for_each(|_| next_run());
        assert_eq!(n_free(), 0);
    }
}
