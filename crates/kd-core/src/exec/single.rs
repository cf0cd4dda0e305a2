//! One operation on candle tensors: a graph of one node.

use std::sync::Arc;

use candle_core::Tensor;

use super::border;
use super::plan::Plan;
use super::purpose::Purpose;
use super::run::Run;
use crate::ops::step::Weight;
use crate::ops::{Op, ParamSpec};
use crate::{Error, Grad, Mode, Result};

/// `op` of `inputs`, with its tensors `params` in the order of [`crate::ops::Operation::params`].
///
/// # Shapes
/// Maps of features are `(N, H, W, C)`, vectors `(N, F)`; parameters as PyTorch stores them; all f32.
///
/// # Gradient
/// In training it flows to each tensor that is tracked, in evaluation to the inputs only. Running
/// statistics move in place, in training.
///
/// # Errors
/// [`Error::Config`] when the inputs do not fit, [`Error::Shape`] when a parameter does not.
pub fn apply(
    op: impl Into<Op>,
    inputs: &[&Tensor],
    params: &[&Tensor],
    mode: Mode,
) -> Result<Tensor> {
    let op = op.into();
    let shapes = inputs.iter().map(|x| shape(x)).collect::<Result<Vec<_>>>()?;
    let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
    let out = op.as_dyn().shape(&shapes).map_err(|reason| Error::config(op.name(), reason))?;
    let weights = weights(&op.as_dyn().params(&shapes), params)?;
    let args: Vec<&Tensor> = inputs.iter().chain(params).copied().collect();
    let tracked = args.iter().any(|arg| arg.track_op());
    let purpose = Purpose::of(mode, tracked);
    let plan = Plan::single(op, &shapes, &out, weights.clone(), purpose);
    let acts = inputs.iter().enumerate().map(|(i, x)| border::input(i, x));
    let run = Run::forward(Arc::new(plan), acts.collect::<Result<_>>()?, mode)?;
    if !tracked {
        return Ok(border::untracked(run)?.swap_remove(0));
    }
    let dims: Vec<Vec<usize>> = inputs.iter().map(|x| x.dims().to_vec()).collect();
    let backward = move |run: Run, of_outputs| {
        let of_inputs = run.backward(of_outputs)?.into_iter().zip(&dims);
        let tensors =
            of_inputs.map(|(grad, dims)| grad.map(|grad| grad.into_tensor(dims)).transpose());
        let mut grads = tensors.collect::<Result<Vec<_>>>()?;
        grads.extend(weights.iter().map(|weight| weight.grad.as_ref()?.get().cloned()));
        Ok(grads)
    };
    Ok(border::tracked(run, &args, false, Box::new(backward))?.swap_remove(0))
}

/// The shape of one example.
fn shape(x: &Tensor) -> Result<Vec<usize>> {
    match *x.dims() {
        [_, height, width, channels] => Ok(vec![channels, height, width]),
        [_, n] => Ok(vec![n]),
        _ => Err(Error::shape("x", "(N, H, W, C) or (N, F)", x.dims())),
    }
}

fn weights(specs: &[ParamSpec], params: &[&Tensor]) -> Result<Vec<Weight>> {
    if specs.len() != params.len() {
        let names: Vec<_> = specs.iter().map(|spec| spec.name).collect();
        return Err(Error::config("params", format!("needs {names:?}, got {}", params.len())));
    }
    let weight = |(spec, param): (&ParamSpec, &&Tensor)| {
        if param.dims() != spec.shape {
            return Err(Error::shape(spec.name, format!("{:?}", spec.shape), param.dims()));
        }
        let grad = (spec.trained && param.track_op()).then(|| Grad::like(param)).transpose()?;
        Ok(Weight { value: param.detach().contiguous()?, grad: grad.map(Arc::new) })
    };
    specs.iter().zip(params).map(weight).collect()
}
