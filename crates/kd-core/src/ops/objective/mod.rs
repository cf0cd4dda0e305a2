//! Objectives on logits, each in one pass over the rows that yields loss and gradient together.

mod count;
mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result as CandleResult, Shape, Tensor};
use serde::{Deserialize, Serialize};

pub use count::{Count, Counted};

use super::slices;
use crate::{Error, Result, below_one, positive};

/// How the soft term of a distillation objective is scaled and averaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Times T^2, summed over classes, mean over the batch: the equation.
    #[default]
    BatchMean,
    /// Also divided by the number of classes, as the code of Li 2018 does, which the paper cites
    /// (`KLDivLoss` with its default reduction).
    Li2018,
    /// Twice that, as the same code has it for MNIST.
    Li2018Mnist,
    /// Without T^2: `alpha * H(q, p(T))`, as Papernot et al. 2016 and Carlini and Wagner 2017 train
    /// their distilled networks. The gradient then falls as 1 / T^2.
    Unscaled,
}

/// The teacher's side of eq. 3.
#[derive(Debug, Clone, Copy)]
pub struct SoftTargets<'a> {
    /// `(N, K)`, raw; detached here.
    pub teacher_logits: &'a Tensor,
    /// T > 0; below 1 it sharpens.
    pub temperature: f64,
    /// Weight of the soft term, in `[0, 1]`.
    pub alpha: f64,
    /// How the soft term is scaled and averaged.
    pub reduction: Reduction,
}

/// Cross entropy with hard labels: `mean_i H(y_i, softmax(z_i))`, in nats, where
/// `y_i = (1 - smoothing) * onehot(label_i) + smoothing / K` (Szegedy et al. 2016; the same as
/// PyTorch's `label_smoothing`).
///
/// # Shapes
/// `logits`: `(N, K)` f32; `labels`: `(N,)` u32; returns `()`.
///
/// # Errors
/// [`Error::Shape`]; [`Error::Config`] for labels not below K or smoothing outside `[0, 1)`.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    below_one("smoothing", smoothing)?;
    apply(logits, Some(Hard { labels, weight: 1.0, smoothing, temperature: 1.0 }), None)
}

/// Cross entropy of the logits divided by a temperature: `mean_i H(y_i, softmax(z_i / T))`, in nats.
/// The teacher of Papernot et al. 2016 (arXiv:1511.04508, section 4) learns so from its labels; at
/// T = 1 it is [`cross_entropy`], bit for bit. There is no T^2.
///
/// # Shapes
/// As [`cross_entropy`].
///
/// # Errors
/// [`Error::Shape`]; [`Error::Config`] for labels not below K or `T <= 0`.
pub fn cross_entropy_at(logits: &Tensor, labels: &Tensor, temperature: f64) -> Result<Tensor> {
    check_temperature(temperature)?;
    apply(logits, Some(Hard { labels, weight: 1.0, smoothing: 0.0, temperature }), None)
}

/// Distillation, eq. 3 of the paper:
/// `mean_i [ alpha * T^2 * H(q_i, p_i(T)) + (1 - alpha) * H(y_i, p_i(1)) ]`, in nats, with
/// `q = softmax(teacher / T)`, `p(T) = softmax(student / T)` and `H(a, b) = -sum_k a_k log b_k`
/// (Hinton, Vinyals, Dean 2015, section 2). With `alpha` = 1 this is eq. 2 and needs no labels.
///
/// # Shapes
/// `logits`: `(N, K)` f32, the student's; `labels`: `(N,)` u32; returns `()`.
///
/// # Gradient
/// Flows to the student's logits only.
///
/// # Errors
/// [`Error::Shape`]; [`Error::Config`] for `T <= 0`, `alpha` outside `[0, 1]`, labels not below K,
/// or no labels where `alpha` < 1.
///
/// # Differs from
/// torchdistill, whose `alpha` weights the hard term; code that uses KL in place of the soft cross
/// entropy, which changes the value by the teacher's entropy and no gradient.
pub fn distillation(
    logits: &Tensor,
    labels: Option<&Tensor>,
    soft: &SoftTargets<'_>,
) -> Result<Tensor> {
    check_soft(soft.temperature, soft.alpha)?;
    let (n, n_classes) = dims(logits)?;
    if soft.teacher_logits.dims() != [n, n_classes] {
        let expected = format!("({n}, {n_classes}), as the student's");
        return Err(Error::shape("teacher_logits", expected, soft.teacher_logits.dims()));
    }
    let hard = match (soft.alpha < 1.0, labels) {
        (false, _) => None,
        (true, Some(labels)) => {
            Some(Hard { labels, weight: 1.0 - soft.alpha, smoothing: 0.0, temperature: 1.0 })
        }
        (true, None) => return Err(Error::config("labels", "alpha below 1 needs them")),
    };
    let weight = soft_weight(soft, n_classes);
    let soft = Soft { teacher: soft.teacher_logits, temperature: soft.temperature, weight };
    apply(logits, hard, (weight > 0.0).then_some(soft))
}

/// The weight of the soft cross entropy. The T^2 keeps the soft gradient's size, which falls as
/// 1 / T^2, comparable with the hard one's (Hinton et al. 2015, section 2.1).
fn soft_weight(soft: &SoftTargets<'_>, n_classes: usize) -> f64 {
    let scaled = soft.alpha * soft.temperature * soft.temperature;
    match soft.reduction {
        Reduction::BatchMean => scaled,
        Reduction::Li2018 => scaled / n_classes as f64,
        Reduction::Li2018Mnist => 2.0 * scaled / n_classes as f64,
        Reduction::Unscaled => soft.alpha,
    }
}

/// Refuses temperatures and weights for which eq. 3 has no meaning.
///
/// # Errors
/// [`Error::Config`] for `temperature <= 0` and `alpha` outside `[0, 1]`.
pub fn check_soft(temperature: f64, alpha: f64) -> Result<()> {
    check_temperature(temperature)?;
    if !(0.0..=1.0).contains(&alpha) {
        return Err(Error::config("alpha", format!("{alpha} is not in [0, 1]")));
    }
    Ok(())
}

/// Refuses a temperature that is not above 0 and finite.
///
/// # Errors
/// [`Error::Config`].
pub fn check_temperature(temperature: f64) -> Result<()> {
    positive("temperature", temperature)
}

fn dims(logits: &Tensor) -> Result<(usize, usize)> {
    match logits.dims() {
        &[n, k] if n > 0 && k > 0 => Ok((n, k)),
        got => Err(Error::shape("logits", "(N, K), neither 0", got)),
    }
}

fn check_labels(logits: &Tensor, labels: &Tensor) -> Result<()> {
    let (n, _) = dims(logits)?;
    if labels.dims() != [n] || labels.dtype() != DType::U32 {
        return Err(Error::shape("labels", format!("({n},) u32"), labels.dims()));
    }
    Ok(())
}

fn label_values(logits: &Tensor, labels: &Tensor) -> Result<Vec<u32>> {
    let (_, n_classes) = dims(logits)?;
    let labels = labels.to_vec1::<u32>()?;
    match labels.iter().position(|&label| label as usize >= n_classes) {
        None => Ok(labels),
        Some(i) => Err(Error::config(
            "labels",
            format!("label {} of example {i} is not below {n_classes}", labels[i]),
        )),
    }
}

struct Hard<L = Vec<u32>> {
    labels: L,
    weight: f64,
    smoothing: f64,
    temperature: f64,
}

struct Soft<T = Vec<f32>> {
    /// The teacher's logits, row-major.
    teacher: T,
    temperature: f64,
    weight: f64,
}

struct Objective {
    hard: Option<Hard>,
    soft: Option<Soft>,
    /// Gradient of the mean loss, kept by the forward for the backward.
    gradient: OnceLock<Vec<f32>>,
}

impl<L> Hard<L> {
    fn with<M>(self, f: impl FnOnce(L) -> Result<M>) -> Result<Hard<M>> {
        let Self { labels, weight, smoothing, temperature } = self;
        Ok(Hard { labels: f(labels)?, weight, smoothing, temperature })
    }
}

impl<T> Soft<T> {
    fn with<U>(self, f: impl FnOnce(T) -> Result<U>) -> Result<Soft<U>> {
        let Self { teacher, temperature, weight } = self;
        Ok(Soft { teacher: f(teacher)?, temperature, weight })
    }
}

fn apply(
    logits: &Tensor,
    hard: Option<Hard<&Tensor>>,
    soft: Option<Soft<&Tensor>>,
) -> Result<Tensor> {
    let logits = logits.contiguous()?;
    if let Some(hard) = &hard {
        check_labels(&logits, hard.labels)?;
    }
    #[cfg(feature = "cuda")]
    if logits.device().is_cuda() {
        let here = |tensor: &Tensor| Ok(tensor.to_device(logits.device())?.contiguous()?);
        let hard = hard.map(|hard| hard.with(here)).transpose()?;
        return cuda::apply(&logits, hard, soft.map(|soft| soft.with(here)).transpose()?);
    }
    let hard = hard.map(|hard| hard.with(|labels| label_values(&logits, labels))).transpose()?;
    let teacher = |teacher: &Tensor| Ok(teacher.flatten_all()?.to_vec1::<f32>()?);
    let soft = soft.map(|soft| soft.with(teacher)).transpose()?;
    let objective = Objective { hard, soft, gradient: OnceLock::new() };
    Ok(logits.apply_op1(objective)?)
}

impl CustomOp1 for Objective {
    fn name(&self) -> &'static str {
        "objective"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let (n, n_classes) = layout.shape().dims2()?;
        let rows = cpu::rows(slices::of(logits, layout)?, n_classes, self);
        let mean = rows.losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / n as f64;
        self.gradient.get_or_init(|| rows.gradient);
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let scale = grad.to_scalar::<f32>()?;
        let gradient = self.gradient.get().map_or(&[][..], Vec::as_slice);
        let gradient = gradient.iter().map(|g| g * scale).collect();
        Ok(Some(Tensor::from_vec(gradient, logits.shape(), logits.device())?))
    }
}

#[cfg(test)]
mod tests;
