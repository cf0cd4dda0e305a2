//! In-place optimizer steps, one pass over parameter, gradient and state.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod moments;

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, InplaceOp2, Layout, Result as CandleResult, Tensor};
use serde::{Deserialize, Serialize};

use super::slices;
use crate::{Error, Result};

pub use moments::Moments;

/// Adam (Kingma & Ba 2015) as in PyTorch: bias-corrected moments, L2 weight decay added to the
/// gradient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// L2 penalty: `weight_decay * parameter` is added to the gradient.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// Stochastic gradient descent with momentum as in PyTorch (no dampening; the buffer starts as
/// the first gradient).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sgd {
    /// Decay of the velocity; 0 for none.
    pub momentum: f64,
    /// Whether to step along the velocity of the next step (Nesterov).
    pub nesterov: bool,
    /// L2 penalty: `weight_decay * parameter` is added to the gradient.
    pub weight_decay: f64,
}

/// Adam's moments of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamState {
    /// Running mean of the gradient, flat.
    pub first: Vec<f32>,
    /// Running mean of its square, flat.
    pub second: Vec<f32>,
}

/// The velocity of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct SgdState {
    /// Running sum of gradients, flat.
    pub velocity: Vec<f32>,
}

impl AdamState {
    /// State of a parameter of `n` values before the first step.
    pub fn new(n: usize) -> Self {
        Self { first: vec![0.0; n], second: vec![0.0; n] }
    }

    /// Changes `param` in place by step number `step` (counted from 1).
    ///
    /// # Errors
    /// [`Error::Shape`] when state, parameter and gradient differ in size.
    pub fn step(
        &mut self,
        adam: &Adam,
        learning_rate: f64,
        step: u64,
        param: &Tensor,
        grad: &Tensor,
    ) -> Result<()> {
        check_sizes(self.first.len(), param, grad)?;
        let rates = cpu::AdamRates::new(adam, learning_rate, step);
        let state = Mutex::new((&mut self.first[..], &mut self.second[..]));
        Ok(param.inplace_op2(grad, &AdamStep { rates, state })?)
    }
}

impl SgdState {
    /// State of a parameter of `n` values before the first step.
    pub fn new(n: usize) -> Self {
        Self { velocity: vec![0.0; n] }
    }

    /// Changes `param` in place by step number `step` (counted from 1).
    ///
    /// # Errors
    /// [`Error::Shape`] when state, parameter and gradient differ in size.
    pub fn step(
        &mut self,
        sgd: &Sgd,
        learning_rate: f64,
        step: u64,
        param: &Tensor,
        grad: &Tensor,
    ) -> Result<()> {
        check_sizes(self.velocity.len(), param, grad)?;
        let rates = cpu::SgdRates::new(sgd, learning_rate, step);
        Ok(param.inplace_op2(grad, &SgdStep { rates, velocity: Mutex::new(&mut self.velocity) })?)
    }
}

fn check_sizes(n: usize, param: &Tensor, grad: &Tensor) -> Result<()> {
    if param.elem_count() != n || grad.dims() != param.dims() {
        let expected = format!("{:?} with {n} values of state", param.dims());
        return Err(Error::shape("gradient", expected, grad.dims()));
    }
    Ok(())
}

/// candle hands an in-place operation one tensor to write; the state rides along in a field.
struct AdamStep<'a> {
    rates: cpu::AdamRates,
    state: Mutex<(&'a mut [f32], &'a mut [f32])>,
}

impl InplaceOp2 for AdamStep<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        param: &mut CpuStorage,
        param_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> CandleResult<()> {
        let param = slices::of_mut(param, param_layout)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, second) = &mut *state;
        cpu::adam(&self.rates, param, slices::of(grad, grad_layout)?, first, second);
        Ok(())
    }
}

struct SgdStep<'a> {
    rates: cpu::SgdRates,
    velocity: Mutex<&'a mut [f32]>,
}

impl InplaceOp2 for SgdStep<'_> {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn cpu_fwd(
        &self,
        param: &mut CpuStorage,
        param_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> CandleResult<()> {
        let param = slices::of_mut(param, param_layout)?;
        let mut velocity = self.velocity.lock().unwrap_or_else(PoisonError::into_inner);
        cpu::sgd(&self.rates, param, slices::of(grad, grad_layout)?, &mut velocity);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use serde_json::Value;

    use super::*;
    use crate::golden;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    }

    fn tensor(value: &Value) -> Tensor {
        let values: Vec<f32> = numbers(value).iter().map(|&x| x as f32).collect();
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    fn check(golden: &Value, what: &str, got: &[f32], want: &Value) {
        let atol = golden["tolerance"]["atol"].as_f64().unwrap();
        let rtol = golden["tolerance"]["rtol"].as_f64().unwrap();
        let want = numbers(want);
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((f64::from(*g) - w).abs() <= atol + rtol * w.abs(), "{what}: {g}, want {w}");
        }
    }

    #[test]
    fn adam_follows_the_golden_trajectory() {
        let golden = golden("optimizers.json");
        let cases = golden["adam"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let betas = numbers(&case["betas"]);
            let adam = Adam {
                beta1: betas[0],
                beta2: betas[1],
                eps: case["eps"].as_f64().unwrap(),
                weight_decay: case["weight_decay"].as_f64().unwrap(),
            };
            let (param, mut state) = (tensor(&golden["initial"]), AdamState::new(5));
            for (i, rate) in numbers(&case["learning_rates"]).into_iter().enumerate() {
                let grad = tensor(&golden["gradients"][i]);
                state.step(&adam, rate, i as u64 + 1, &param, &grad).unwrap();
                let what = format!("{} after step {}", case["name"], i + 1);
                check(&golden, &what, &param.to_vec1::<f32>().unwrap(), &case["after"][i]);
            }
            check(&golden, "first moment", &state.first, &case["exp_avg"]);
            check(&golden, "second moment", &state.second, &case["exp_avg_sq"]);
        }
    }

    #[test]
    fn sgd_follows_the_golden_trajectory() {
        let golden = golden("optimizers.json");
        let cases = golden["sgd"].as_array().unwrap();
        assert_eq!(cases.len(), 6);
        for case in cases {
            let sgd = Sgd {
                momentum: case["momentum"].as_f64().unwrap(),
                nesterov: case["nesterov"].as_bool().unwrap(),
                weight_decay: case["weight_decay"].as_f64().unwrap(),
            };
            let (param, mut state) = (tensor(&golden["initial"]), SgdState::new(5));
            for (i, rate) in numbers(&case["learning_rates"]).into_iter().enumerate() {
                let grad = tensor(&golden["gradients"][i]);
                state.step(&sgd, rate, i as u64 + 1, &param, &grad).unwrap();
                let what = format!("{} after step {}", case["name"], i + 1);
                check(&golden, &what, &param.to_vec1::<f32>().unwrap(), &case["after"][i]);
            }
        }
    }

    #[test]
    fn many_values_step_as_each_would_alone() {
        let n = 200_003;
        let grad = crate::testing::random(crate::Stream::new(1), &[n]);
        let param = grad.zeros_like().unwrap();
        AdamState::new(n).step(&Adam::default(), 0.1, 1, &param, &grad).unwrap();
        let got = param.to_vec1::<f32>().unwrap();
        // The first step of Adam is the learning rate against the gradient's sign.
        for (p, g) in got.iter().zip(grad.to_vec1::<f32>().unwrap()) {
            assert!((p + 0.1 * g.signum()).abs() < 1e-4 || g.abs() < 1e-4);
        }
    }

    #[test]
    fn the_momentum_of_what_has_died_ends_at_zero() {
        let param = Tensor::new(&[1.0f32], &Device::Cpu).unwrap();
        let (mut adam, mut sgd) = (AdamState::new(1), SgdState::new(1));
        let settings = Sgd { momentum: 0.9, ..Sgd::default() };
        // In subnormal numbers, 0.9 of the fourth smallest rounds back to it.
        for step in 1..=1200 {
            let grad = if step == 1 { 1.0f32 } else { 0.0 };
            let grad = Tensor::new(&[grad], &Device::Cpu).unwrap();
            adam.step(&Adam::default(), 1e-3, step, &param, &grad).unwrap();
            sgd.step(&settings, 1e-3, step, &param, &grad).unwrap();
        }
        assert_eq!((adam.first[0].to_bits(), sgd.velocity[0].to_bits()), (0, 0));
        assert!(adam.second[0].is_normal());
    }

    #[test]
    fn sizes_must_agree() {
        let param = Tensor::new(&[1.0f32, 2.0], &Device::Cpu).unwrap();
        let step = AdamState::new(3).step(&Adam::default(), 0.1, 1, &param, &param);
        assert!(matches!(step, Err(Error::Shape { .. })));
    }
}
