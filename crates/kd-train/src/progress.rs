//! How far a training is and how fast it goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What a training has done since it began or was resumed, for a progress bar to read.
#[derive(Debug, Default)]
pub struct Counters {
    /// Steps done since the first of all.
    pub steps: AtomicU64,
    /// Training images that the students saw.
    pub images: AtomicU64,
    /// Microseconds in which the students waited for batches or for their teacher.
    pub waiting_micros: AtomicU64,
}

impl Counters {
    /// Counters of a training that has done `steps` steps before.
    pub fn at_step(steps: u64) -> Self {
        Self { steps: AtomicU64::new(steps), ..Self::default() }
    }

    /// Counts a step of `n_images`.
    pub(crate) fn step(&self, n_images: usize) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.images.fetch_add(n_images as u64, Ordering::Relaxed);
    }

    /// Counts time in which the students waited.
    pub(crate) fn wait(&self, time: Duration) {
        self.waiting_micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }
}

/// Wall time of an epoch, in seconds; the parts of one that was interrupted add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Clock {
    /// In steps.
    pub(crate) stepping: f64,
    /// In which the students waited for batches or for their teacher.
    pub(crate) waiting: f64,
    /// In evaluations.
    pub(crate) evaluating: f64,
}

impl Clock {
    /// All of the time.
    pub(crate) fn seconds(&self) -> f64 {
        self.stepping + self.waiting + self.evaluating
    }

    /// How fast `n_images` went by, without evaluations.
    pub(crate) fn images_per_second(&self, n_images: u64) -> f64 {
        n_images as f64 / (self.stepping + self.waiting).max(f64::MIN_POSITIVE)
    }

    /// The fraction of the time without evaluations that the students waited.
    pub(crate) fn data_wait(&self) -> f64 {
        self.waiting / (self.stepping + self.waiting).max(f64::MIN_POSITIVE)
    }
}

/// The result of `work`, and how long it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    (work(), started.elapsed())
}
