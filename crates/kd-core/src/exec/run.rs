//! A plan that runs: forward over its steps, and backward.
//!
//! Where the inputs are, all steps compute: in CPU memory, or on a GPU (`blocks/cuda.rs` and
//! `ops/*/cuda.rs`, compiled but not run on one yet: see `cuda/mod.rs`).

use std::any::Any;
use std::sync::Arc;

use super::blocks::Block;
use super::plan::{Place, Plan, Purpose, Step};
use crate::act::{Act, Grad, Grads, Made, Values, next_run};
use crate::ops::step::{Backward, Forward};
use crate::{Mode, Result};

/// A plan that has run forward, with what its backward needs.
pub(super) struct Run {
    plan: Arc<Plan>,
    n_inputs: usize,
    mode: Mode,
    acts: Vec<Option<Act>>,
    saved: Vec<Option<Box<dyn Any + Send>>>,
}

impl Run {
    /// Runs forward on `inputs`.
    pub(super) fn forward(plan: Arc<Plan>, inputs: Vec<Act>, mode: Mode) -> Result<Self> {
        next_run();
        let n_inputs = inputs.len();
        let n = inputs.first().map_or(0, |input| input.dims()[0]);
        let mut acts: Vec<Option<Act>> = inputs.into_iter().map(Some).collect();
        acts.resize(plan.n_acts, None);
        let mut saved = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let inputs: Vec<Act> = step.inputs.iter().map(|place| act(&acts, place)).collect();
            let needs_grad = plan.purpose != Purpose::Evaluate && step.needs_grad(&inputs, &plan);
            let inputs: Vec<&Act> = inputs.iter().collect();
            let (inputs, weights, mode) = (&inputs[..], &step.weights[..], step.mode(mode));
            let mut forward = Forward { inputs, weights, mode, saved: None };
            let made = self::forward(&*step.block, &mut forward)?;
            saved.push(forward.saved.filter(|_| needs_grad));
            let output = &step.output;
            let dims = dims(n, &output.shape);
            acts[output.act] = Some(Act::new(output.act, dims, made, needs_grad));
            for i in &step.last_reads {
                if let Some(act) = &mut acts[*i] {
                    act.release();
                }
            }
        }
        Ok(Self { plan, n_inputs, mode, acts, saved })
    }

    /// The plan's outputs.
    pub(super) fn outputs(&self) -> Vec<Act> {
        self.plan.outputs.iter().map(|place| act(&self.acts, place)).collect()
    }

    /// The outputs of a run whose backward will not be asked for.
    pub(super) fn into_outputs(self) -> Vec<Act> {
        self.outputs()
    }

    /// The gradients of the inputs that need one, from those of the outputs; the gradients of trained
    /// tensors go to their buffers.
    pub(super) fn backward(
        mut self,
        of_outputs: Vec<Option<Values>>,
    ) -> Result<Vec<Option<Values>>> {
        let mut grads = Grads::default();
        for (output, grad) in self.outputs().iter().zip(of_outputs) {
            if let Some(grad) = grad {
                grads.add(output, grad)?;
            }
        }
        let plan = self.plan.clone();
        for (step, saved) in plan.steps.iter().zip(self.saved).rev() {
            let Some(output) = self.acts[step.output.act].take() else { continue };
            let Some(grad) = grads.take(&output) else { continue };
            let inputs: Vec<Act> = step.inputs.iter().map(|place| act(&self.acts, place)).collect();
            let inputs: Vec<&Act> = inputs.iter().collect();
            let grad = unclamped(grad, &output)?;
            let (weights, mode) = (&step.weights[..], step.mode(self.mode));
            let (inputs, output, grads) = (&inputs[..], &output, &mut grads);
            let mut backward = Backward { inputs, output, weights, mode, saved, grads };
            self::backward(&*step.block, grad, &mut backward)?;
        }
        let inputs = self.acts.iter().take(self.n_inputs);
        let grad = |input: &Option<Act>| grads.take(input.as_ref()?).map(|grad| grad.values);
        Ok(inputs.map(grad).collect())
    }
}

/// The output of `block`, where its inputs are.
fn forward(block: &dyn Block, step: &mut Forward<'_>) -> Result<Made> {
    #[cfg(feature = "cuda")]
    if step.input(0).made().is_on_gpu() {
        return Ok(block.on_gpu()?.forward(step)?.into());
    }
    block.forward(step)
}

/// The backward of `block`, where `grad` is.
fn backward(block: &dyn Block, grad: Values, step: &mut Backward<'_>) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Values::Gpu(grad) = grad {
        return block.on_gpu()?.backward(grad.reshape(step.output.dims())?, step);
    }
    block.backward(grad.host()?, step)
}

impl Step {
    /// How it computes where the network does so in `mode`.
    fn mode(&self, mode: Mode) -> Mode {
        if self.rests { Mode::Eval } else { mode }
    }

    fn needs_grad(&self, inputs: &[Act], plan: &Plan) -> bool {
        let trains = plan.purpose == Purpose::Train
            && !self.rests
            && self.weights.iter().any(|weight| weight.grad.is_some());
        trains || inputs.iter().any(Act::needs_grad)
    }
}

/// The activation at `place`.
fn act(acts: &[Option<Act>], place: &Place) -> Act {
    let act = acts[place.act].as_ref().expect("invariant: a plan's steps are in order");
    act.reshaped(place.act, dims(act.dims()[0], &place.shape))
}

/// How `n` examples lie in memory.
pub(super) fn dims(n: usize, shape: &[usize]) -> Vec<usize> {
    match *shape {
        [channels, height, width] => vec![n, height, width, channels],
        _ => [&[n], shape].concat(),
    }
}

/// The gradient before the clamp that made `output`.
fn unclamped(mut grad: Grad, output: &Act) -> Result<Values> {
    let Values::Host(values) = &mut grad.values else { return Ok(grad.values) };
    if output.is_kept() && !grad.through_clamp {
        let made: &Made = output.made();
        if !made.clamp().is_none() {
            made.source().mask_all(values, output.n_channels());
        }
    }
    Ok(grad.values)
}
