//! Layer norm over the channels of each pixel.

mod cpu;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::deposit::deposit;
use crate::ops::onnx::{Operand, Operator};
use crate::ops::operation::{Checked, Init, Operation, ParamSpec};
use crate::ops::slices;
use crate::ops::step::{Backward, Forward, Reads};

/// `y = weight (x - mean) / sqrt(variance + eps) + bias`, with mean and (biased) variance over the
/// channels of each pixel (Ba et al. 2016), as PyTorch's `LayerNorm` over the last axis of NHWC.
/// Parameters: `weight` and `bias`, `(C,)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: f32,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self { eps: 1e-5 }
    }
}

impl Operation for LayerNorm {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        if self.eps >= 0.0 { Ok(inputs[0].to_vec()) } else { Err("eps must not be below 0".into()) }
    }

    fn onnx(&self, inputs: &[&[usize]]) -> Vec<Operator> {
        let norm = |operator: Operator| {
            let operator = operator.and(Operand::Param("weight")).and(Operand::Param("bias"));
            operator.with_int("axis", -1).with_float("epsilon", self.eps)
        };
        if inputs[0].len() == 1 {
            return vec![norm(Operator::new("LayerNormalization"))];
        }
        vec![
            Operator::new("Transpose").with_sizes("perm", &[0, 2, 3, 1]),
            norm(Operator::after(0, "LayerNormalization")),
            Operator::after(1, "Transpose").with_sizes("perm", &[0, 3, 1, 2]),
        ]
    }

    fn params(&self, inputs: &[&[usize]]) -> Vec<ParamSpec> {
        let shape = [inputs[0][0]];
        vec![
            ParamSpec::trained("weight", &shape, Init::Ones),
            ParamSpec::trained("bias", &shape, Init::Zeros),
        ]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0).values();
        let (y, statistics) = slices::with(step.weight(0), |weight| {
            slices::with(step.weight(1), |bias| Ok(cpu::forward(x, (weight, bias), self.eps)))
        })?;
        step.save(statistics);
        Ok(y.into())
    }

    fn backward(&self, mut grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let statistics = step.saved()?;
        let x = step.input(0).values();
        let to_params = slices::with(step.weight(0), |weight| {
            Ok(cpu::backward(&mut grad, x, weight, &statistics))
        })?;
        for (i, to_param) in to_params.iter().enumerate() {
            if let Some(sink) = step.sink(i) {
                deposit(sink, to_param)?;
            }
        }
        step.add(0, grad)
    }

    fn reads(&self) -> Reads {
        Reads { inputs: true, output: false }
    }
}
