//! Images that show nothing.

use candle_core::Tensor;
use kd_core::{BatchSource, Result, Stream};

/// Two images of noise, by which parts of networks are told apart.
pub(crate) fn noise(source: &dyn BatchSource) -> Result<Tensor> {
    let [channels, height, width] = source.image_shape();
    let mut rng = Stream::new(0).at("trunk").rng();
    let pixels: Vec<f32> = (0..2 * channels * height * width).map(|_| rng.uniform()).collect();
    Ok(Tensor::from_vec(pixels, (2, channels, height, width), &source.device())?)
}
