//! The linear layer as an operation of a network.

use serde::{Deserialize, Serialize};

use crate::ops::onnx::{Operand, Operator};
use crate::ops::operation::{Checked, Init, Operation, ParamSpec};

/// `y = x W^T + b`: parameters `weight` `(O, I)` and, where there is one, `bias` `(O,)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Output values, O.
    pub out_features: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// How the weight begins.
    pub weight_init: Init,
    /// How the bias begins.
    pub bias_init: Init,
}

impl Linear {
    /// With a bias, and PyTorch's initial values.
    pub fn new(out_features: usize) -> Self {
        let (weight_init, bias_init) = (Init::Pytorch, Init::Pytorch);
        Self { out_features, bias: true, weight_init, bias_init }
    }

    /// With a weight and a bias that begin so.
    pub fn init(self, weight_init: Init, bias_init: Init) -> Self {
        Self { weight_init, bias_init, ..self }
    }
}

impl Default for Linear {
    fn default() -> Self {
        Self::new(10)
    }
}

impl Operation for Linear {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        match inputs[0] {
            [n_in] if *n_in > 0 && self.out_features > 0 => Ok(vec![self.out_features]),
            other => Err(format!("from {other:?} to {} values", self.out_features)),
        }
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        let operator = Operator::new("Gemm").and(Operand::Param("weight"));
        let operator = operator.with_int("transB", 1);
        vec![if self.bias { operator.and(Operand::Param("bias")) } else { operator }]
    }

    fn params(&self, inputs: &[&[usize]]) -> Vec<ParamSpec> {
        let shape = [self.out_features, inputs[0][0]];
        let mut params = vec![ParamSpec::trained("weight", &shape, self.weight_init)];
        if self.bias {
            params.push(ParamSpec::trained("bias", &shape[..1], self.bias_init));
        }
        params.into_iter().map(|param| param.fans(shape[1], shape[0])).collect()
    }

    fn multiply_adds(&self, inputs: &[&[usize]], output: &[usize]) -> u64 {
        inputs[0][0] as u64 * output[0] as u64
    }
}
