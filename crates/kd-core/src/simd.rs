//! Plain loops, compiled for the vectors of the processor that they run on.

use pulp::{Arch, Simd, WithSimd};

/// Runs `f` compiled for AVX-512, AVX2 or without either, whichever the processor has.
///
/// `f` must be written as `#[inline(always)] || ..` where it is passed, and what it calls must be
/// inlined too: functions that are not are compiled without these instructions. (pulp takes
/// closures itself, but calls them through a function that the compiler does not inline.)
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    dispatch(Loop(f))
}

/// Runs `work` with the vectors of the processor.
pub(crate) fn dispatch<W: WithSimd>(work: W) -> W::Output {
    let arch = Arch::new();
    #[cfg(test)]
    let arch = testing::chosen().unwrap_or(arch);
    arch.dispatch(work)
}

struct Loop<F>(F);

impl<R, F: FnOnce() -> R> WithSimd for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> R {
        (self.0)()
    }
}

/// Evaluates `$then` with `$n`, which is 1 to `$most`, as the constant `$N`; nothing is compiled for
/// numbers above `$most`, which is at most 12.
macro_rules! constant {
    ($N:ident = $n:expr, $most:expr, $then:expr) => {
        constant!($N = $n, $most, $then, 1 2 3 4 5 6 7 8 9 10 11 12)
    };
    ($N:ident = $n:expr, $most:expr, $then:expr, $($value:literal)*) => {
        match $n {
            $($value if const { $value <= $most } => {
                const $N: usize = $value;
                $then
            })*
            _ => {}
        }
    };
}
pub(crate) use constant;

/// The same work on processors with other vectors.
#[cfg(test)]
pub(crate) mod testing {
    use std::cell::Cell;

    use pulp::Arch;

    thread_local! {
        static CHOSEN: Cell<Option<Arch>> = const { Cell::new(None) };
    }

    pub(crate) fn chosen() -> Option<Arch> {
        CHOSEN.get()
    }

    /// What `work` gives, on one thread, with each kind of vectors that this processor has.
    pub(crate) fn with_all_vectors<R: Send>(work: impl Fn() -> R + Sync) -> Vec<R> {
        let mut kinds = vec![Arch::new(), Arch::Scalar];
        #[cfg(target_arch = "x86_64")]
        kinds.extend(pulp::x86::V3::try_new().map(Arch::V3));
        let run = |kind| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            pool.install(|| {
                CHOSEN.set(Some(kind));
                work()
            })
        };
        kinds.into_iter().map(run).collect()
    }
}
