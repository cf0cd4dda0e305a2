//! candle's own threads.

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
