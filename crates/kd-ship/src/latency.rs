//! How long a network takes for one image.

use std::time::Instant;

use candle_core::{Device, Tensor};
use kd_core::{Classifier, Error, Mode, Net, Result};
use kd_report::Latency;

/// Forward passes that are thrown away, and that are timed.
const PASSES: (usize, usize) = (20, 200);
/// Numbers of threads.
const THREADS: [usize; 2] = [1, 2];

/// The times of single images of `pixels`, forward pass by forward pass, with one thread and with two: what
/// half of them and 99 of 100 are below.
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
    let mut seconds = pool.install(|| {
        let one = |_| -> Result<f64> {
            let begun = Instant::now();
            network.forward(image, Mode::Eval)?;
            Ok(begun.elapsed().as_secs_f64())
        };
        (0..PASSES.0 + PASSES.1).map(one).collect::<Result<Vec<f64>>>()
    })?;
    let timed = &mut seconds[PASSES.0..];
    timed.sort_by(f64::total_cmp);
    let at = |share: f64| timed[((timed.len() - 1) as f64 * share).round() as usize];
    Ok(Latency { threads, p50: at(0.5), p99: at(0.99) })
}
