//! A progress bar with speed and ETA on a terminal, plain lines elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use kd_train::Counters;

/// The most letters of a name beside a bar.
const WIDEST: usize = 28;

/// Shows how far a training is while it runs; dropped, it goes away.
pub struct Progress {
    /// Counted up by the training loop.
    pub counters: Arc<Counters>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts at step `done` of `total`.
    pub fn start(name: String, done: u64, total: u64) -> Self {
        let counters = Arc::new(Counters::at_step(done));
        let ended = Arc::new(AtomicBool::new(false));
        let (counted, end) = (counters.clone(), ended.clone());
        let draw = move || {
            let bar = ProgressBar::new(total).with_position(done).with_prefix(ending(&name));
            bar.set_style(style());
            bar.set_message("starting");
            bar.reset_eta();
            let (started, mut printed) = (Instant::now(), Instant::now());
            while !end.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(200));
                let step = counted.steps.load(Ordering::Relaxed);
                let speed = speed(&counted, step - done, started.elapsed());
                bar.set_position(step);
                if !bar.is_hidden() {
                    bar.set_message(speed);
                } else if printed.elapsed() > Duration::from_secs(30) {
                    printed = Instant::now();
                    let left = left((done, step, total), started.elapsed());
                    eprintln!("{name}: {} %, {speed}, {left} to go", 100 * step / total.max(1));
                }
            }
            bar.finish_and_clear();
        };
        Self { counters, ended, thread: Some(std::thread::spawn(draw)) }
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
    ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3} %, {msg}, {eta} to go")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What leaves room for a bar in a narrow window: the end of a long name, which tells it from others.
fn ending(name: &str) -> String {
    match name.chars().count().checked_sub(WIDEST) {
        None | Some(0) => name.into(),
        Some(cut) => "\u{2026}".chars().chain(name.chars().skip(cut + 1)).collect(),
    }
}

/// Of a training, images a second and how much of the time the students waited, if it is worth a
/// word; of an attack, steps a second.
fn speed(counters: &Counters, n_steps: u64, elapsed: Duration) -> String {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let (images, steps) = (count(&counters.images) / seconds, n_steps as f64 / seconds);
    if images > 0.0 {
        let waiting = 1e-4 * count(&counters.waiting_micros) / seconds;
        let digits = if images < 10.0 { 1 } else { 0 };
        let idle = match waiting {
            ..5.0 => String::new(),
            _ => format!(", {waiting:.0} % waiting"),
        };
        return format!("{images:.digits$} images/s{idle}");
    }
    match steps {
        0.0 => "no step done yet".into(),
        0.0..1.0 => format!("{:.1} s a step", 1.0 / steps),
        _ => format!("{steps:.0} steps/s"),
    }
}

/// How long the rest will take if it goes on as since the start.
fn left((first, step, total): (u64, u64, u64), elapsed: Duration) -> String {
    let rate = (step - first).max(1) as f64 / elapsed.as_secs_f64().max(1e-9);
    kd_report::duration((total - step.min(total)) as f64 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(ending("student-t20, seed 1"), "student-t20, seed 1");
        let name = "runs/teacher/checkpoints/resnet20-seed0/student";
        assert_eq!(ending(name), "\u{2026}ints/resnet20-seed0/student");
    }

    #[test]
    fn speed_and_remaining_time_are_those_since_the_start() {
        let counters = Counters::at_step(100);
        counters.images.store(6400, Ordering::Relaxed);
        counters.waiting_micros.store(1_600_000, Ordering::Relaxed);
        let elapsed = Duration::from_secs(20);
        assert_eq!(speed(&counters, 100, elapsed), "320 images/s, 8 % waiting");
        assert_eq!(left((100, 200, 1000), elapsed), kd_report::duration(160.0));
        counters.images.store(5, Ordering::Relaxed);
        counters.waiting_micros.store(0, Ordering::Relaxed);
        assert_eq!(speed(&counters, 100, elapsed), "0.2 images/s");
        counters.images.store(0, Ordering::Relaxed);
        assert_eq!(speed(&counters, 100, elapsed), "5 steps/s");
        assert_eq!(speed(&counters, 5, elapsed), "4.0 s a step");
        assert_eq!(speed(&counters, 0, elapsed), "no step done yet");
    }
}
