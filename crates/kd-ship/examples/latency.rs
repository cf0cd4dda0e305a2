//! The time of one image in a network, with one thread and with two: `latency MODEL` prints a line of JSON, in
//! milliseconds. `xtask/peer/shipped.py` sets other engines beside it.
#![expect(clippy::print_stdout, reason = "it prints its result")]

use candle_core::Device;
use kd_core::{Error, Result};
use kd_ship::latencies;
use kd_suite::weights::{Wanted, load};

fn main() -> Result<()> {
    kd_suite::prepare_process();
    let path = std::env::args_os().nth(1).ok_or_else(|| Error::config("model", "give a file"))?;
    let network = load(path.as_ref(), &Wanted::default(), &Device::Cpu)?.network.fixed();
    let n_pixels = network.graph().image_shape.iter().product();
    let times = latencies(&network, &vec![0.5; n_pixels])?;
    let words = times.iter().map(|t| {
        format!("\"{}\": {{\"p50\": {:.4}, \"p99\": {:.4}}}", t.threads, 1e3 * t.p50, 1e3 * t.p99)
    });
    println!("{{{}}}", words.collect::<Vec<_>>().join(", "));
    Ok(())
}
