//! What the machine can do at most: multiply and add, and move numbers.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Multiply-adds that wait for each other, side by side: more than any processor has on their way.
const CHAINS: usize = 12;
/// Values of each of three arrays, beyond all caches.
const N_VALUES: usize = 1 << 25;
/// Values that one task moves.
const TASK: usize = 1 << 16;
/// Trials of each kind, the best of which counts.
const N_TRIALS: usize = 5;

/// Measured with the threads at hand.
pub(crate) struct Machine {
    /// Multiplications and additions of f32 a second, 1e9 of them.
    pub(crate) gflops: f64,
    /// Bytes read and written a second, 1e9 of them.
    pub(crate) gbytes: f64,
    n_threads: usize,
    lanes: usize,
}

impl Machine {
    pub(crate) fn measure() -> Self {
        let n_threads = rayon::current_num_threads();
        let lanes = Arch::new().dispatch(Lanes);
        Self { gflops: best(gflops), gbytes: best(triad()), n_threads, lanes }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gflops, gbytes, n_threads, lanes } = self;
        write!(
            f,
            "{n_threads} threads, vectors of {lanes} f32: at most {gflops:.0} GFLOP/s, and {gbytes:.1} GB/s to and \
             from memory"
        )
    }
}

fn best(mut trial: impl FnMut() -> f64) -> f64 {
    (0..N_TRIALS).map(|_| trial()).fold(0.0, f64::max)
}

/// Of all threads together.
fn gflops() -> f64 {
    let started = Instant::now();
    let n: f64 = rayon::broadcast(|_| Arch::new().dispatch(Chains)).into_iter().sum();
    1e-9 * n / started.elapsed().as_secs_f64()
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

struct Chains;

impl WithSimd for Chains {
    /// Multiplications and additions.
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        const N_STEPS: usize = 10_000_000;
        let [factor, more] = [0.999, 0.001].map(|x| black_box(simd.splat_f32s(x)));
        let mut sums = [simd.splat_f32s(0.5); CHAINS];
        for _ in 0..N_STEPS {
            sums.iter_mut().for_each(|sum| *sum = simd.mul_add_f32s(*sum, factor, more));
        }
        black_box(sums);
        2.0 * (N_STEPS * CHAINS * S::F32_LANES) as f64
    }
}

/// McCalpin's triad, `a = b + 3 c`: GB/s, counting what is written once.
fn triad() -> impl FnMut() -> f64 {
    let [mut a, b, c] = [0.0f32, 1.0, 2.0].map(|x| vec![x; N_VALUES]);
    move || {
        let started = Instant::now();
        let tasks = a.par_chunks_mut(TASK).zip(b.par_chunks(TASK)).zip(c.par_chunks(TASK));
        tasks.for_each(|((a, b), c)| {
            a.iter_mut().zip(b).zip(c).for_each(|((a, b), c)| *a = b + 3.0 * c);
        });
        black_box(&mut a);
        1e-9 * (3 * 4 * N_VALUES) as f64 / started.elapsed().as_secs_f64()
    }
}
