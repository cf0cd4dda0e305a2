//! How long a network takes for one image.

use std::time::Instant;

use candle_core::{Device, Tensor};
use kd_core::{Classifier, Error, Mode, Net, Result};
use kd_report::Latency;

/// Forward passes that are thrown away, and those of each round that are timed.
const PASSES: (usize, usize) = (20, 100);
/// Rounds, of which the fastest counts: what else the machine does must not stand in a card.
const ROUNDS: usize = 7;
/// Numbers of threads.
const THREADS: [usize; 2] = [1, 2];

/// The times of single images of `pixels`, forward pass by forward pass, with one thread and with two: what
/// half of them and 99 of 100 are below, in the fastest of seven rounds.
///
/// # Errors
/// [`Error::Config`] when threads cannot be started; what the network reports, for other images too.
pub fn latencies(network: &Net, pixels: &[f32]) -> Result<Vec<Latency>> {
    let [channels, height, width] = network.graph().image_shape;
    let image = Tensor::from_slice(pixels, (1, channels, height, width), &Device::Cpu)?;
    THREADS.iter().map(|&threads| latency(network, &image, threads)).collect()
}

fn latency(network: &Net, image: &Tensor, threads: usize) -> Result<Latency> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| Error::config("threads", e.to_string()))?;
    let passes = |n: usize| (0..n).map(|_| seconds(network, image)).collect::<Result<Vec<f64>>>();
    pool.install(|| passes(PASSES.0))?;
    let rounds = (0..ROUNDS).map(|_| pool.install(|| passes(PASSES.1)));
    let rounds = rounds.map(|round| Ok(of_round(threads, round?))).collect::<Result<Vec<_>>>()?;
    let fastest = rounds.into_iter().min_by(|a, b| a.p50.total_cmp(&b.p50));
    fastest.ok_or_else(|| Error::config("rounds", "there was none"))
}

/// The time of one forward pass.
fn seconds(network: &Net, image: &Tensor) -> Result<f64> {
    let begun = Instant::now();
    network.forward(image, Mode::Eval)?;
    Ok(begun.elapsed().as_secs_f64())
}

fn of_round(threads: usize, mut seconds: Vec<f64>) -> Latency {
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share).round() as usize];
    Latency { threads, p50: at(0.5), p99: at(0.99) }
}
