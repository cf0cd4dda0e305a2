//! What the machine can do at most: multiply and add, and move numbers; beside which kernels are measured.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::simd::dispatch;

/// Multiply-adds side by side that do not wait for each other: as many as any processor has under way.
const N_CHAINS: usize = 12;
const N_STEPS: usize = 10_000_000;
/// Values of each of three arrays, beyond all caches.
const N_VALUES: usize = 1 << 25;
/// Values that one task moves.
const TASK: usize = 1 << 16;
/// Trials of each kind, the best of which counts.
const N_TRIALS: usize = 5;

/// What the threads at hand can do together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Threads.
    pub n_threads: usize,
    /// f32 in a vector.
    pub lanes: usize,
    /// 1e9 multiplications and additions of f32 a second.
    pub gflops: f64,
    /// 1e9 bytes read and written a second, of numbers that no cache holds: McCalpin's triad, counting what is written
    /// once.
    pub gbytes: f64,
}

impl Machine {
    /// Measures for about two seconds, with 400 MB of memory.
    pub fn measure() -> Self {
        let best =
            |trial: &mut dyn FnMut() -> f64| (0..N_TRIALS).map(|_| trial()).fold(0.0, f64::max);
        Self {
            n_threads: rayon::current_num_threads(),
            lanes: dispatch(Lanes),
            gflops: best(&mut gflops),
            gbytes: best(&mut triad()),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_threads, lanes, gflops, gbytes } = self;
        write!(
            f,
            "{n_threads} threads, vectors of {lanes} f32: at most {gflops:.0} GFLOP/s, and {gbytes:.1} GB/s to and \
             from memory"
        )
    }
}

fn gflops() -> f64 {
    let started = Instant::now();
    let n: f64 = rayon::broadcast(|_| dispatch(Chains)).into_iter().sum();
    1e-9 * n / started.elapsed().as_secs_f64()
}

fn triad() -> impl FnMut() -> f64 {
    let [mut a, b, c] = [0.0, 1.0, 2.0].map(|x| vec![x; N_VALUES]);
    move || {
        let started = Instant::now();
        let tasks = a.par_chunks_mut(TASK).zip(b.par_chunks(TASK)).zip(c.par_chunks(TASK));
        tasks.for_each(|((a, b), c)| dispatch(Triad { a, b, c }));
        black_box(&mut a);
        1e-9 * (3 * size_of::<f32>() * N_VALUES) as f64 / started.elapsed().as_secs_f64()
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Multiply-adds in registers; gives the number of multiplications and additions.
struct Chains;

impl WithSimd for Chains {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let [factor, more] = [black_box(0.999), black_box(0.001)].map(|x| simd.splat_f32s(x));
        let mut sums = [simd.splat_f32s(0.5); N_CHAINS];
        for _ in 0..N_STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, factor, more);
            }
        }
        black_box(sums);
        2.0 * (N_STEPS * N_CHAINS * S::F32_LANES) as f64
    }
}

/// `a = b + 3 c`, of whole vectors.
struct Triad<'a> {
    a: &'a mut [f32],
    b: &'a [f32],
    c: &'a [f32],
}

impl WithSimd for Triad<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [(b, _), (c, _)] = [self.b, self.c].map(S::as_simd_f32s);
        let (factor, (a, _)) = (simd.splat_f32s(3.0), S::as_mut_simd_f32s(self.a));
        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
            *a = simd.mul_add_f32s(factor, *c, *b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_triad_is_computed() {
        let (mut a, b, c) = (vec![0.0; 32], vec![1.0; 32], vec![2.0; 32]);
        dispatch(Triad { a: &mut a, b: &b, c: &c });
        assert_eq!(a, vec![7.0; 32]);
    }

    #[test]
    fn it_is_said_in_a_line() {
        let machine = Machine { n_threads: 2, lanes: 8, gflops: 127.6, gbytes: 14.42 };
        let line =
            "2 threads, vectors of 8 f32: at most 128 GFLOP/s, and 14.4 GB/s to and from memory";
        assert_eq!(machine.to_string(), line);
    }
}
