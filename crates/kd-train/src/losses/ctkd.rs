//! Curriculum temperature.

use candle_core::{DType, Tensor};
use kd_core::{Params, Result};
use serde::{Deserialize, Serialize};

use super::maps::own;
use super::rows::{check, kl, log_softmax, student, teacher, warm, with_labels};
use super::{Loss, LossInput};

/// The parameter from which the temperature comes.
const THETA: &str = "theta";

/// `hard CE + soft T^2 KL(q || p)` at `T = lowest + span sigmoid(theta)`, one for all images; theta, 1 at
/// first, is learned *against* the student: its gradient is multiplied by `-lambda`, which grows from 0 to
/// 1 in half a cosine over `ramp` epochs (Li et al. 2023, arXiv:2211.16231, eq. 6 to 9).
///
/// The paper says that T begins at 1, its code at `1 + 20 sigmoid(1) = 15.6`: this follows the code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ctkd {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the teacher.
    pub soft: f64,
    /// The lowest temperature, above 0.
    pub lowest: f64,
    /// How far above it the highest is.
    pub span: f64,
    /// Epochs over which theta's learning grows.
    pub ramp: u64,
}

impl Default for Ctkd {
    fn default() -> Self {
        Self { hard: 0.1, soft: 0.9, lowest: 1.0, span: 20.0, ramp: 10 }
    }
}

impl Loss for Ctkd {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let reversed = reversed(own(input.own, THETA)?, self.lambda(input.epoch))?;
        let sigmoid = ((reversed.to_dtype(DType::F64)?.neg()?.exp()? + 1.0)?).recip()?;
        let temperature = ((sigmoid * self.span)? + self.lowest)?;
        let at = |logits: Tensor| log_softmax(&logits.broadcast_div(&temperature)?);
        let soft = kl(&at(teacher(input)?)?, &at(student(input)?)?)?.mean_all()?;
        let soft = (soft * temperature.squeeze(0)?.squeeze(0)?.sqr()?)?;
        with_labels(input, self.hard, (soft * self.soft)?)
    }

    fn needs_teacher(&self) -> bool {
        true
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn own_params(&self, first: &LossInput<'_>) -> Result<Params> {
        let mut params = Params::new();
        params.insert(THETA, &Tensor::ones((1, 1), DType::F32, first.logits.device())?)?;
        Ok(params)
    }

    fn check(&self) -> Result<()> {
        check(&[("hard", self.hard), ("soft", self.soft), ("span", self.span)], &[self.lowest])
    }
}

impl Ctkd {
    /// How much of its reversed gradient theta has in `epoch`, counted from 0: all in epoch number `ramp`,
    /// counted from 1.
    fn lambda(&self, epoch: u64) -> f64 {
        let share = warm(epoch, self.ramp);
        0.5 * (1.0 - (std::f64::consts::PI * share).cos())
    }
}

/// `theta`, whose gradient is multiplied by `-lambda` (Ganin and Lempitsky 2015).
fn reversed(theta: &Tensor, lambda: f64) -> Result<Tensor> {
    Ok(((theta.detach() * (1.0 + lambda))? - (theta * lambda)?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn the_temperature_climbs_while_the_student_descends() {
        let tensor = |rows: &[[f32; 3]; 2]| Tensor::new(rows, &Device::Cpu).unwrap();
        let logits = Var::from_tensor(&tensor(&[[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]])).unwrap();
        let teacher = tensor(&[[2.0, 0.0, 1.0], [0.0, 1.0, -2.0]]);
        let labels = Tensor::new(&[0u32, 1], &Device::Cpu).unwrap();
        let input = LossInput {
            teacher_logits: Some(&teacher),
            epoch: 4,
            ..LossInput::new(&logits, &labels)
        };
        let loss = Ctkd::default();
        let params = loss.own_params(&input).unwrap();
        let value = |theta: f32| {
            let params = loss.own_params(&input).unwrap();
            let theta = Tensor::new(&[[theta]], &Device::Cpu).unwrap();
            params.get(THETA).unwrap().var().set(&theta).unwrap();
            let value = loss.loss(&LossInput { own: &params, ..input }).unwrap();
            f64::from(value.to_scalar::<f32>().unwrap())
        };
        let slope = (value(1.05) - value(0.95)) / 0.1;
        let grads = loss.loss(&LossInput { own: &params, ..input }).unwrap().backward().unwrap();
        let grad = grads.get(params.get(THETA).unwrap().var()).unwrap();
        let grad = f64::from(grad.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]);
        // Half of ten epochs: half of the gradient, reversed.
        assert!((grad + 0.5 * slope).abs() < 0.02 * slope.abs(), "{grad}, slope {slope}");
        assert!(loss.lambda(0) > 0.0 && loss.lambda(8) < 1.0);
        assert!((loss.lambda(9) - 1.0).abs() + (loss.lambda(99) - 1.0).abs() < 1e-12);
    }
}
