//! How fast this machine is, by which the length of trainings is planned.

use std::time::Instant;

use candle_core::Device;
use kd_core::{Classifier, Error, Mode, Net, Result};
use kd_data::Part;

/// Photographs that are timed, and how often.
const TIMED: (usize, usize) = (8, 3);
/// A step costs a forward pass and the two products of the backward one.
const STEP: f64 = 3.0;

/// Seconds of what trainings are made of, all threads working.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// To read and decode a photograph.
    pub(crate) decode: f64,
    /// A forward pass of the teacher on one.
    pub(crate) teacher: f64,
    /// A multiply-add of a forward pass.
    pub(crate) multiply_add: f64,
}

impl Pace {
    /// Measured on the first photographs, the shortest of a few times.
    pub(crate) fn measure(teacher: &Net, part: &Part) -> Result<Self> {
        let source = part.in_order(&Device::Cpu)?;
        let order = source.order(0);
        let indices = &order[..TIMED.0.min(order.len())];
        let (mut decode, mut forward) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..TIMED.1 {
            let begun = Instant::now();
            let batch = source.batch(0, indices)?;
            decode = decode.min(begun.elapsed().as_secs_f64());
            let begun = Instant::now();
            teacher.forward(&batch.images, Mode::Eval)?;
            forward = forward.min(begun.elapsed().as_secs_f64());
        }
        let n = indices.len() as f64;
        if n == 0.0 {
            return Err(Error::config("images", "there are no images to learn from"));
        }
        let multiply_adds = teacher.graph().counts()?.multiply_adds.max(1) as f64;
        let teacher = forward / n;
        Ok(Self { decode: decode / n, teacher, multiply_add: teacher / multiply_adds })
    }

    /// Seconds of a training step of a network, per image.
    pub(crate) fn step(&self, multiply_adds: u64) -> f64 {
        STEP * self.forward(multiply_adds)
    }

    /// Seconds of a forward pass of a network, per image.
    pub(crate) fn forward(&self, multiply_adds: u64) -> f64 {
        self.multiply_add * multiply_adds as f64
    }
}
