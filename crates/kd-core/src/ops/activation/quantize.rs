//! Rounding to 256 levels, as inference in 8-bit integers does.

use serde::{Deserialize, Serialize};

use super::map::Function;
use crate::ops::onnx::{Operand, Operator};
use crate::ops::operation::Checked;

/// `scale (clip(round(x / scale) + zero_point, 0, 255) - zero_point)`, ties to even: what ONNX's
/// `QuantizeLinear` to unsigned bytes and `DequantizeLinear` make of a value.
///
/// Its derivative is taken as 1 where x is within the levels and as 0 beyond them ("straight
/// through", Bengio et al. 2013, arXiv:1308.3432), so that a network can learn to live with it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantize {
    /// From one level to the next, above 0.
    pub scale: f32,
    /// The level of 0.
    pub zero_point: u8,
}

impl Default for Quantize {
    /// The levels of a pixel.
    fn default() -> Self {
        Self { scale: 1.0 / 255.0, zero_point: 0 }
    }
}

impl Quantize {
    /// The least and the greatest level, counted from that of 0.
    #[inline(always)]
    fn ends(&self) -> (f32, f32) {
        let zero = f32::from(self.zero_point);
        (-zero, 255.0 - zero)
    }
}

impl Function for Quantize {
    fn check(&self) -> Checked<()> {
        let is_good = self.scale.is_finite() && self.scale > 0.0;
        if is_good { Ok(()) } else { Err("scale must be finite and above 0".into()) }
    }

    fn onnx(&self) -> Vec<Operator> {
        let levels =
            |operator: Operator| operator.number(self.scale).and(Operand::Byte(self.zero_point));
        vec![
            levels(Operator::new("QuantizeLinear")),
            levels(Operator::after(0, "DequantizeLinear")),
        ]
    }

    #[inline(always)]
    fn value(&self, x: f32) -> f32 {
        let (low, high) = self.ends();
        (x / self.scale).round_ties_even().clamp(low, high) * self.scale
    }

    #[inline(always)]
    fn slope(&self, x: f32) -> f32 {
        let (low, high) = self.ends();
        let level = x / self.scale;
        if (level >= low) & (level <= high) { 1.0 } else { 0.0 }
    }
}
