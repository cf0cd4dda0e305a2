//! The process and the threads that compute.

use kd_core::{Error, Result, at_least_one};

/// Prepares a process that computes. To be called before any thread is started.
pub fn prepare_process() {
    quiet_candle();
    #[cfg(target_env = "gnu")]
    keep_freed_memory();
}

/// Keeps candle's own elementwise thread pool to one thread: its workers spin while they wait and
/// take the cores from the pool on which kd computes.
fn quiet_candle() {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none() {
        #[expect(unsafe_code, reason = "candle reads its thread count from the environment")]
        // SAFETY: callers have one thread yet.
        unsafe {
            std::env::set_var(VARIABLE, "1");
        }
    }
}

/// Has glibc keep what is freed, up to a gigabyte. It gives tensors of 32 MiB and more back to the system at once, and
/// the next ones wait for new pages: a step with a few of them took 1.7 times as long.
#[cfg(target_env = "gnu")]
fn keep_freed_memory() {
    const KEPT: i32 = 1 << 30;
    #[expect(unsafe_code, reason = "glibc's settings are foreign functions")]
    // SAFETY: they take any number, and refuse what is too large for them.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
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
