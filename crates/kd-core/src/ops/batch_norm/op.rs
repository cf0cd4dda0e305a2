//! Batch norm as an operation of a network.

use serde::{Deserialize, Serialize};

use crate::ops::onnx::{Operand, Operator};
use crate::ops::operation::{Checked, Init, Operation, ParamSpec};

/// Batch norm (Ioffe, Szegedy 2015) with PyTorch's names: the parameters `weight` (gamma) and `bias`
/// (beta), the buffers `running_mean` and `running_var`, all `(C,)`.
///
/// In training it normalizes with the batch's statistics and moves the running ones by `momentum`
/// towards them (the variance divided by n - 1); in evaluation it uses the running ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f32,
    /// Weight of the newest batch in the running statistics.
    pub momentum: f32,
}

impl Default for BatchNorm {
    /// PyTorch's.
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1 }
    }
}

impl Operation for BatchNorm {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        if !(self.eps >= 0.0 && (0.0..=1.0).contains(&self.momentum)) {
            return Err("eps must not be below 0, momentum must be in [0, 1]".into());
        }
        Ok(inputs[0].to_vec())
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        let tensors = ["weight", "bias", "running_mean", "running_var"].map(Operand::Param);
        let operator = tensors.into_iter().fold(Operator::new("BatchNormalization"), Operator::and);
        // ONNX gives the weight of what was.
        let kept = 1.0 - self.momentum;
        vec![operator.with_float("epsilon", self.eps).with_float("momentum", kept)]
    }

    fn params(&self, inputs: &[&[usize]]) -> Vec<ParamSpec> {
        let shape = [inputs[0][0]];
        vec![
            ParamSpec::trained("weight", &shape, Init::Ones),
            ParamSpec::trained("bias", &shape, Init::Zeros),
            ParamSpec::buffer("running_mean", &shape, Init::Zeros),
            ParamSpec::buffer("running_var", &shape, Init::Ones),
        ]
    }
}
