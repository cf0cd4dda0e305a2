//! How long a network takes for one image.

use std::time::Instant;

use candle_core::{Device, Tensor};
use kd_core::{Classifier, Error, Mode, Net, Result};
use kd_report::Latency;
use rayon::ThreadPool;

/// Forward passes that are thrown away, and those of each round that are timed.
const PASSES: (usize, usize) = (20, 25);
/// Rounds of each number of threads, and how many of them count: the fastest, because what else the machine does
/// must not stand in a card.
const ROUNDS: (usize, usize) = (40, 8);
/// Numbers of threads.
const THREADS: [usize; 2] = [1, 2];

/// The times of single images of `pixels`, forward pass by forward pass, with one thread and with two: what
/// half of them and 99 of 100 are below, in the fastest fifth of the rounds. Rounds with one thread and with two
/// take turns, so that both see the machine over the whole of the time.
///
/// # Errors
/// [`Error::Config`] when threads cannot be started; what the network reports, for other images too.
pub fn latencies(network: &Net, pixels: &[f32]) -> Result<Vec<Latency>> {
    let [channels, height, width] = network.graph().image_shape;
    let image = Tensor::from_slice(pixels, (1, channels, height, width), &Device::Cpu)?;
    let pools = THREADS.iter().map(|&threads| pool(threads)).collect::<Result<Vec<_>>>()?;
    let round = |n| -> Result<Vec<Vec<f64>>> {
        pools.iter().map(|pool| pool.install(|| passes(network, &image, n))).collect()
    };
    round(PASSES.0)?;
    let rounds = (0..ROUNDS.0).map(|_| round(PASSES.1)).collect::<Result<Vec<_>>>()?;
    let of = |k: usize| rounds.iter().map(|round| round[k].as_slice()).collect();
    Ok(THREADS.iter().enumerate().map(|(k, &threads)| of_fastest(threads, of(k))).collect())
}

fn pool(threads: usize) -> Result<ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|e| Error::config("threads", e.to_string()))
}

/// The times of `n` forward passes, ascending.
fn passes(network: &Net, image: &Tensor, n: usize) -> Result<Vec<f64>> {
    let mut seconds = (0..n).map(|_| seconds(network, image)).collect::<Result<Vec<_>>>()?;
    seconds.sort_by(f64::total_cmp);
    Ok(seconds)
}

/// The time of one forward pass.
fn seconds(network: &Net, image: &Tensor) -> Result<f64> {
    let begun = Instant::now();
    network.forward(image, Mode::Eval)?;
    Ok(begun.elapsed().as_secs_f64())
}

/// What half of the passes in the fastest rounds take, and 99 of 100; rounds are compared by their median.
fn of_fastest(threads: usize, mut rounds: Vec<&[f64]>) -> Latency {
    rounds.sort_by(|a, b| share(a, 0.5).total_cmp(&share(b, 0.5)));
    let mut seconds = rounds[..ROUNDS.1].concat();
    seconds.sort_by(f64::total_cmp);
    Latency { threads, p50: share(&seconds, 0.5), p99: share(&seconds, 0.99) }
}

/// What the given share of the ascending values is below.
fn share(ascending: &[f64], share: f64) -> f64 {
    ascending[((ascending.len() - 1) as f64 * share).round() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fastest_rounds_count() {
        let calm = [1.0, 2.0, 3.0];
        let busy = [0.5, 9.0, 9.0];
        let mut rounds = vec![&busy[..]; ROUNDS.0 - ROUNDS.1];
        rounds.extend(vec![&calm[..]; ROUNDS.1]);
        assert_eq!(of_fastest(2, rounds), Latency { threads: 2, p50: 2.0, p99: 3.0 });
    }
}
