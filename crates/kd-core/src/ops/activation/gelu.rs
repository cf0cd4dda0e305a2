//! `x Phi(x)` with the normal distribution function (Hendrycks, Gimpel 2016), by `erf`.

use serde::{Deserialize, Serialize};

use super::map::Function;
use crate::math;
use crate::ops::onnx::{Operand, Operator};

/// `x Phi(x)` with the normal distribution function (Hendrycks, Gimpel 2016), by `erf`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gelu {}

impl Function for Gelu {
    fn onnx(&self) -> Vec<Operator> {
        vec![
            Operator::new("Div").number(std::f32::consts::SQRT_2),
            Operator::after(0, "Erf"),
            Operator::after(1, "Add").number(1.0),
            Operator::after(2, "Mul").and(Operand::Input(0)),
            Operator::after(3, "Mul").number(0.5),
        ]
    }

    #[inline(always)]
    fn value(&self, x: f32) -> f32 {
        x * math::normal(x).0
    }

    #[inline(always)]
    fn slope(&self, x: f32) -> f32 {
        const INVERSE_ROOT_OF_TAU: f32 = 0.398_942_3;
        let (below, bell) = math::normal(x);
        below + x * bell * INVERSE_ROOT_OF_TAU
    }
}
