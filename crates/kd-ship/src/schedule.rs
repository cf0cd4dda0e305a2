//! How long each training is, so that all of them end in time.
//!
//! Key decision: the lengths are found once, by measuring, and written down: an interrupted shipment
//! goes on with them, whatever the machine does meanwhile.

use kd_core::Result;
use serde::{Deserialize, Serialize};

use crate::images::Images;
use crate::networks::Start;
use crate::pace::Pace;

/// Epochs of the new head alone: little work, since what is frozen computes once.
const PROBE: u64 = 40;
/// Least and greatest epochs of the teacher, of the students that are tried, of the last training.
const TUNE: [u64; 2] = [4, 30];
const TRY: [u64; 2] = [4, 30];
const LAST: [u64; 2] = [8, 200];
/// Seeded versions of each image that the teacher is asked about.
const MAX_VIEWS: u64 = 16;

/// Epochs of each training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schedule {
    /// Of the teacher's new head.
    pub(crate) probe: u64,
    /// Of the whole teacher.
    pub(crate) tune: u64,
    /// Of the students that are tried.
    pub(crate) try_out: u64,
    /// Of the student that is shipped.
    pub(crate) last: u64,
    /// Seeded versions of each training image.
    pub(crate) views: u64,
    /// Seconds that all of it takes, by what was measured.
    pub(crate) seconds: f64,
}

/// What is trained: the teacher, where it is, and the students.
pub(crate) struct Work<'a> {
    pub(crate) images: &'a Images,
    pub(crate) teacher: Option<&'a Start>,
    /// Multiply-adds of each student.
    pub(crate) students: &'a [u64],
    pub(crate) seeds: u64,
    /// Objectives that are tried of each.
    pub(crate) n_candidates: usize,
}

impl Schedule {
    /// What fits into `seconds`: a tenth of them is for judging, and of the rest three tenths each are
    /// for the teacher and for trying students, four for the last training.
    pub(crate) fn of(work: &Work<'_>, pace: Pace, seconds: f64) -> Result<Self> {
        let Work { images, teacher, students, seeds, n_candidates } = work;
        let (n, held_out) = (images.train.len() as f64, images.held_out.len() as f64);
        let all = n + held_out + images.judged.len() as f64;
        let seeds = *seeds as f64;
        let budget = 0.9 * seconds;
        let (mut spent, mut tune, mut probe) = (0.1 * seconds, 0, 0);
        if let Some(teacher) = teacher {
            let multiply_adds = teacher.multiply_adds()?;
            let forward = pace.forward(multiply_adds);
            let prepare = all * (pace.decode + forward);
            let epoch = n * (pace.decode + pace.step(multiply_adds)) + held_out * forward;
            (probe, tune) = (PROBE, epochs(0.3 * budget / seeds - prepare, epoch, TUNE));
            spent += seeds * (prepare + tune as f64 * epoch);
        }
        let one = |multiply_adds: &u64| {
            let step = n * pace.step(*multiply_adds) + held_out * pace.forward(*multiply_adds);
            n * pace.decode + *n_candidates as f64 * step
        };
        let epoch: f64 = students.iter().map(one).sum();
        let share = 0.3 * budget;
        let view = n * (pace.decode + pace.teacher);
        let views = ((0.3 * share / view) as u64).clamp(2, MAX_VIEWS);
        let try_out = epochs(share - views as f64 * view, epoch, TRY);
        spent += views as f64 * view + try_out as f64 * epoch;
        let largest = students.iter().copied().max().unwrap_or(0);
        let epoch = n * (pace.decode + 2.0 * pace.step(largest));
        let last = epochs(0.4 * budget / seeds, epoch, LAST);
        spent += seeds * last as f64 * epoch;
        Ok(Self { probe, tune, try_out, last, views, seconds: spent })
    }
}

/// How often `epoch` fits into `seconds`, within bounds.
fn epochs(seconds: f64, epoch: f64, [least, most]: [u64; 2]) -> u64 {
    ((seconds / epoch).max(0.0) as u64).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_fit_into_the_time_and_keep_their_bounds() {
        assert_eq!(epochs(100.0, 9.0, [4, 30]), 11);
        assert_eq!(epochs(10.0, 9.0, [4, 30]), 4);
        assert_eq!(epochs(1e6, 9.0, [4, 30]), 30);
        assert_eq!(epochs(-5.0, 9.0, [4, 30]), 4);
        assert_eq!(epochs(5.0, 0.0, [4, 30]), 30);
    }
}
