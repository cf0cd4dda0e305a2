//! A progress bar with ETA on a terminal, plain lines elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Shows how far a training is while it runs; dropped, it goes away.
pub(crate) struct Progress {
    /// Steps done, counted by the training loop.
    pub(crate) steps_done: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts at step `done` of `total`.
    pub(crate) fn start(name: String, done: u64, total: u64) -> Self {
        let steps_done = Arc::new(AtomicU64::new(done));
        let ended = Arc::new(AtomicBool::new(false));
        let (counter, end) = (steps_done.clone(), ended.clone());
        let draw = move || {
            let bar = ProgressBar::new(total).with_position(done).with_message(name.clone());
            bar.set_style(style());
            bar.reset_eta();
            let (started, mut printed) = (Instant::now(), Instant::now());
            while !end.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(200));
                let step = counter.load(Ordering::Relaxed);
                bar.set_position(step);
                if bar.is_hidden() && printed.elapsed() > Duration::from_secs(30) {
                    printed = Instant::now();
                    eprintln!("{}", line(&name, (done, step, total), started.elapsed()));
                }
            }
            bar.finish_and_clear();
        };
        Self { steps_done, ended, thread: Some(std::thread::spawn(draw)) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread draws only; if it panicked there is nothing left to draw.
            let _ = thread.join();
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:24} {wide_bar} {percent:>3}%  {per_sec}  ETA {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn line(name: &str, (first, step, total): (u64, u64, u64), elapsed: Duration) -> String {
    let rate = (step - first).max(1) as f64 / elapsed.as_secs_f64().max(1e-9);
    let eta = (total - step.min(total)) as f64 / rate;
    let percent = 100 * step / total.max(1);
    let speed = match rate < 1.0 {
        true => format!("{:.1} s a step", 1.0 / rate),
        false => format!("{rate:.0} steps/s"),
    };
    format!("{name}: {percent} %, {speed}, {} to go", kd_report::duration(eta))
}
