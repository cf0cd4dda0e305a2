//! Images per second that the loader assembles: CIFAR-10's shape, batches of 128, crop with
//! padding 4, flip.
//!
//! ```text
//! cargo run --release -p kd-data --example batches [THREADS]
//! ```

#![expect(clippy::print_stdout, reason = "an example says what it found")]

use std::sync::Arc;
use std::time::Instant;

use kd_core::{BatchSource, Result, Stream};
use kd_data::{Augment, Images, Loader};

const N_IMAGES: u32 = 50_000;
const BATCH: usize = 128;

fn main() -> Result<()> {
    let n_threads = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build();
    let pool = pool.expect("a pool of threads");
    let mut rng = Stream::new(0).rng();
    let pixels = (0..N_IMAGES * 3072).map(|_| rng.next_u32() as u8).collect();
    let labels = (0..N_IMAGES).map(|i| i % 10).collect();
    let images = Arc::new(Images::new(pixels, labels, [3, 32, 32], 10)?);
    let augment = Augment { crop_padding: 4, flip: true, ..Augment::default() };
    let loader = Loader::new(images, augment, Stream::new(1))?;
    for epoch in 0..5 {
        let order = loader.order(epoch);
        let started = Instant::now();
        pool.install(|| order.chunks(BATCH).try_for_each(|i| loader.batch(epoch, i).map(drop)))?;
        let rate = f64::from(N_IMAGES) / started.elapsed().as_secs_f64();
        println!("{rate:.0} images/s on {} threads", pool.current_num_threads());
    }
    Ok(())
}
