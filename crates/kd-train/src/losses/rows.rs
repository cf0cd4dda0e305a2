//! What objectives on logits are written in: functions of the rows of `(N, K)`, through which gradients
//! flow.
//!
//! Key decision: in f64. Divergences at high temperatures are small differences of large numbers, and are
//! multiplied by T^2; rows of logits are so few numbers that it costs nothing.

use candle_core::{D, DType, Tensor};
use kd_core::{Error, Result, not_negative, ops};

use super::LossInput;

/// What a class that is left out has in place of its logit: its probability is 0, and no NaN comes of it.
const LEFT_OUT: f64 = -1e9;

/// `log softmax(z)`, `(N, K)`. The largest logit is taken off as a constant, which changes no gradient.
pub(super) fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&log_sum)?)
}

/// `sum_k exp(log_q_k) (log_q_k - log_p_k)`, the divergence of q from p in nats, `(N,)`.
pub(super) fn kl(log_q: &Tensor, log_p: &Tensor) -> Result<Tensor> {
    Ok((log_q.exp()? * (log_q - log_p)?)?.sum(D::Minus1)?)
}

/// 1 at each row's label, 0 elsewhere, `(N, K)`.
pub(super) fn one_hot(labels: &Tensor, like: &Tensor) -> Result<Tensor> {
    let (n, n_classes) = like.dims2()?;
    let classes = Tensor::arange(0, n_classes as u32, like.device())?.reshape((1, n_classes))?;
    let labels = labels.reshape((n, 1))?.broadcast_as((n, n_classes))?;
    Ok(labels.eq(&classes.broadcast_as((n, n_classes))?)?.to_dtype(DType::F64)?)
}

/// `logits` without the classes at which `mask` is 1.
pub(super) fn without(logits: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let kept = (1.0 - mask)?;
    Ok((logits.mul(&kept)? + (mask * LEFT_OUT)?)?)
}

/// The value at which `mask` is 1, in each row, `(N, 1)`.
pub(super) fn at(values: &Tensor, mask: &Tensor) -> Result<Tensor> {
    Ok((values * mask)?.sum_keepdim(D::Minus1)?)
}

/// Unbiased standard deviation of each row, `(N, 1)`; of equal numbers it is 0, with a gradient of 0.
pub(super) fn deviation(rows: &Tensor) -> Result<Tensor> {
    let n = rows.dim(D::Minus1)?;
    if n < 2 {
        return Err(Error::shape("logits", "two classes at least", rows.dims()));
    }
    let centered = rows.broadcast_sub(&rows.mean_keepdim(D::Minus1)?)?;
    let variance = (centered.sqr()?.sum_keepdim(D::Minus1)? / (n - 1) as f64)?;
    // A root of 0 has no gradient that is a number.
    Ok((variance + f64::MIN_POSITIVE)?.sqrt()?)
}

/// `hard` times the cross entropy of the labels, and `soft`, a scalar: no label is looked at for nothing.
pub(super) fn with_labels(input: &LossInput<'_>, hard: f64, soft: Tensor) -> Result<Tensor> {
    let soft = soft.to_dtype(DType::F32)?;
    if hard == 0.0 {
        return Ok(soft);
    }
    let labels = ops::cross_entropy(input.logits, input.labels, 0.0)?;
    Ok(((labels * hard)? + soft)?)
}

/// The sum of scalars, of which there is one at least.
pub(super) fn sum(terms: impl IntoIterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let mut terms = terms.into_iter();
    let first = terms.next().ok_or_else(|| Error::config("loss", "has no term"))??;
    terms.try_fold(first, |sum, term| Ok((sum + term?)?))
}

/// The student's logits.
pub(super) fn student(input: &LossInput<'_>) -> Result<Tensor> {
    Ok(input.logits.to_dtype(DType::F64)?)
}

/// The teacher's logits, of the student's shape, as a constant.
pub(super) fn teacher(input: &LossInput<'_>) -> Result<Tensor> {
    let teacher = input.teacher()?;
    if teacher.dims() != input.logits.dims() {
        let expected = format!("{:?}, as the student's", input.logits.dims());
        return Err(Error::shape("teacher_logits", expected, teacher.dims()));
    }
    Ok(teacher.detach().to_dtype(DType::F64)?)
}

/// The part of its weight that a term has in `epoch`, counted from 0: it grows in equal steps to the
/// whole in epoch number `warmup`, counted from 1.
pub(super) fn warm(epoch: u64, warmup: u64) -> f64 {
    ((epoch + 1) as f64 / warmup.max(1) as f64).min(1.0)
}

/// Refuses weights that are negative or no numbers, and temperatures that are not above 0.
pub(super) fn check(weights: &[(&str, f64)], temperatures: &[f64]) -> Result<()> {
    weights.iter().try_for_each(|(name, weight)| not_negative(name, *weight))?;
    temperatures.iter().try_for_each(|temperature| ops::check_temperature(*temperature))
}
