//! The student in 8-bit integers, where that is worth it.

use candle_core::{Device, Tensor};
use kd_core::{Classifier, Net, Result, at_least_one};
use kd_data::Part;
use kd_models::quantize::{Quantized, Range, quantize};
use kd_report::Int8;
use kd_train::EvalSet;

use crate::judge::Judged;

/// Images of one forward pass, of which all activations are kept for a while, and of the calibration.
const BATCH: usize = 8;
const CALIBRATION: usize = 128;
/// A quantized network loses at most so much accuracy, and is so much smaller.
const MOST_LOST: f64 = 0.005;
const SMALLER: f64 = 3.0;

/// The quantized network and what became of it; `judged` is what the network that it was made of says of
/// the same images.
pub(crate) fn quantized(
    network: &Net,
    calibration: &Part,
    held_out: &EvalSet,
    (judge, judged): (&EvalSet, &Judged),
) -> Result<(Quantized, Int8)> {
    let quantized = calibrated(network, calibration, CALIBRATION, Range::Mse)?;
    let rounded = Net::with_weights(quantized.graph.clone(), &quantized.weights, &Device::Cpu)?;
    let lost = held_out.evaluate(network, None)?.top1 - held_out.evaluate(&rounded, None)?.top1;
    let now = Judged::of(&rounded, judge)?;
    let smaller = 4.0 * network.params().n_elements() as f64 / n_bytes(&quantized) as f64;
    let int8 = Int8 {
        same: now.same(judged),
        evaluation: now.evaluation,
        lost_held_out: lost,
        smaller,
        kept: lost <= MOST_LOST && smaller >= SMALLER,
    };
    Ok((quantized, int8))
}

/// `network` in 8-bit integers, calibrated with about `n` images from all over `part`.
///
/// # Errors
/// [`kd_core::Error::Config`] for no images; those of the images, and of [`quantize`].
pub fn calibrated(network: &Net, part: &Part, n: usize, range: Range) -> Result<Quantized> {
    at_least_one("calibration_images", n)?;
    let source = part.in_order(&Device::Cpu)?;
    let order = source.order(0);
    let step = order.len().div_ceil(n).max(1);
    let chosen: Vec<u32> = order.into_iter().step_by(step).collect();
    let batches = chosen.chunks(BATCH).map(|indices| Ok(source.batch(0, indices)?.images));
    let images = batches.collect::<Result<Vec<_>>>()?;
    quantize(network.graph(), &network.params().tensors(), &images, range)
}

/// Bytes of the weights as they are stored: one each where they are multiples of a scale and no bias.
fn n_bytes(quantized: &Quantized) -> usize {
    let one = |(name, weights): (&String, &Tensor)| {
        let is_byte = quantized.scales.contains_key(name) && weights.dims().len() > 1;
        weights.elem_count() * if is_byte { 1 } else { 4 }
    };
    quantized.weights.iter().map(one).sum()
}
