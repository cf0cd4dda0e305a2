//! The threads that compute.

use kd_core::{Error, Result, at_least_one};

/// Keeps candle's own elementwise thread pool to one thread: its workers spin while they wait and
/// take the cores from the pool on which kd computes. To be called before any thread is started.
pub fn quiet_candle() {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none() {
        #[expect(unsafe_code, reason = "candle reads its thread count from the environment")]
        // SAFETY: callers have one thread yet.
        unsafe {
            std::env::set_var(VARIABLE, "1");
        }
    }
}

/// Calls `f` within a pool of `n` threads, that of all cores without a number, which all computation
/// shares.
///
/// # Errors
/// [`Error::Config`] for no threads, and where they cannot be started.
pub fn on_threads<R: Send>(n: Option<usize>, f: impl FnOnce() -> R + Send) -> Result<R> {
    /// candle walks and drops graphs recursively.
    const STACK: usize = 64 << 20;
    at_least_one("threads", n.unwrap_or(1))?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n.unwrap_or(0)).stack_size(STACK);
    let pool = pool.build().map_err(|e| Error::config("threads", format!("cannot start: {e}")))?;
    Ok(pool.install(f))
}
