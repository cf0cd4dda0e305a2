//! Plain loops, compiled for the vectors of the processor that they run on.

use pulp::{Arch, Simd, WithSimd};

/// Runs `f` compiled for AVX-512, AVX2 or without either, whichever the processor has.
///
/// `f` must be written as `#[inline(always)] || ..` where it is passed, and what it calls must be
/// inlined too: functions that are not are compiled without these instructions. (pulp takes
/// closures itself, but calls them through a function that the compiler does not inline.)
pub(crate) fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(Loop(f))
}

struct Loop<F>(F);

impl<R, F: FnOnce() -> R> WithSimd for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> R {
        (self.0)()
    }
}
