//! A plan that runs: forward over its steps, and backward.
//!
//! Where the inputs are, all steps compute: in CPU memory, or on a GPU (`blocks/cuda.rs` and
//! `ops/*/cuda.rs`, compiled but not run on one yet: see `cuda/mod.rs`).

use std::any::Any;
use std::sync::Arc;

use super::blocks::{Block, Common};
use super::courier::{Courier, Update, with_courier};
use super::group::Place;
use super::plan::{Plan, Step};
use super::purpose::Purpose;
use crate::act::{Act, Buffer, Grad, Grads, Made, Values, next_run};
use crate::ops::step::{Backward, Forward, Weight};
use crate::shards::Part;
use crate::{Error, Mode, Result};

/// A plan that has run forward on the shards of a batch, with what its backward needs.
pub(super) struct Run {
    plan: Arc<Plan>,
    n_inputs: usize,
    mode: Mode,
    part: Part,
    /// Those that are here, step by step together.
    shards: Vec<Shard>,
}

/// What a run has of one shard.
#[derive(Default)]
struct Shard {
    acts: Vec<Option<Act>>,
    saved: Vec<Option<Box<dyn Any + Send>>>,
}

impl Shard {
    fn new(inputs: Vec<Act>, plan: &Plan) -> Self {
        let mut acts: Vec<Option<Act>> = inputs.into_iter().map(Some).collect();
        acts.resize(plan.n_acts, None);
        Self { acts, saved: Vec::with_capacity(plan.steps.len()) }
    }

    /// What `step` reads.
    fn inputs(&self, step: &Step) -> Vec<Act> {
        step.inputs.iter().map(|place| act(&self.acts, place)).collect()
    }

    fn outputs(&self, plan: &Plan) -> Vec<Act> {
        plan.outputs.iter().map(|place| act(&self.acts, place)).collect()
    }

    /// Keeps what `step` made, and gives up what nothing reads any more.
    fn keep(&mut self, step: &Step, made: Made, (n, needs_grad): (usize, bool)) {
        let output = &step.output;
        let made = Act::new(output.act, dims(n, &output.shape), made, needs_grad);
        self.acts[output.act] = Some(made);
        for i in &step.last_reads {
            if let Some(act) = &mut self.acts[*i] {
                act.release();
            }
        }
    }
}

impl Run {
    /// Runs forward on `inputs`, a whole batch.
    pub(super) fn forward(plan: Arc<Plan>, inputs: Vec<Act>, mode: Mode) -> Result<Self> {
        Self::of_shards(plan, vec![inputs], mode, Part::whole())
    }

    /// Runs forward on the inputs of each shard of `part` that has images.
    pub(super) fn of_shards(
        plan: Arc<Plan>,
        inputs: Vec<Vec<Act>>,
        mode: Mode,
        part: Part,
    ) -> Result<Self> {
        next_run();
        let n_inputs = inputs.first().map_or(0, Vec::len);
        let shards = inputs.into_iter().map(|inputs| Shard::new(inputs, &plan)).collect();
        let mut run = Self { plan: plan.clone(), n_inputs, mode, part, shards };
        plan.steps.iter().try_for_each(|step| run.step(step))?;
        Ok(run)
    }

    /// One step forward.
    fn step(&mut self, step: &Step) -> Result<()> {
        let mode = step.mode(self.mode);
        let inputs: Vec<Vec<Act>> = self.shards.iter().map(|shard| shard.inputs(step)).collect();
        let needs_grad = inputs.first().is_some_and(|inputs| {
            self.plan.purpose != Purpose::Evaluate && step.needs_grad(inputs, &self.plan)
        });
        let read: Vec<Vec<&Act>> = inputs.iter().map(|inputs| inputs.iter().collect()).collect();
        let mut steps = Vec::with_capacity(read.len());
        for (i, inputs) in read.iter().enumerate() {
            let (weights, first_row) = (&step.weights[..], self.part.first_row(i));
            steps.push(Forward { inputs, weights, mode, first_row, saved: None });
        }
        let common = Common { part: &self.part, weights: &step.weights, mode };
        let made = self::forward(&*step.block, &mut steps, &common)?;
        let saved: Vec<_> = steps.into_iter().map(|step| step.saved).collect();
        for (((shard, made), saved), inputs) in
            self.shards.iter_mut().zip(made).zip(saved).zip(&inputs)
        {
            shard.saved.push(saved.filter(|_| needs_grad));
            let n = inputs.first().map_or(0, |input| input.dims()[0]);
            shard.keep(step, made, (n, needs_grad));
        }
        Ok(())
    }

    /// The plan's outputs, of a whole batch.
    pub(super) fn outputs(&self) -> Vec<Act> {
        self.shards.first().map_or(Vec::new(), |shard| shard.outputs(&self.plan))
    }

    /// The same of each shard.
    pub(super) fn outputs_of_shards(&self) -> Vec<Vec<Act>> {
        self.shards.iter().map(|shard| shard.outputs(&self.plan)).collect()
    }

    /// The outputs of a run whose backward will not be asked for.
    pub(super) fn into_outputs(self) -> Vec<Act> {
        self.outputs()
    }

    /// The gradients of the inputs that need one, from those of the outputs; the gradients of trained
    /// tensors go to their buffers.
    pub(super) fn backward(self, of_outputs: Vec<Option<Values>>) -> Result<Vec<Option<Values>>> {
        Ok(self.back(vec![of_outputs], None)?.swap_remove(0))
    }

    /// The same for each shard; trained tensors are moved by `update` in place of getting gradients.
    pub(super) fn backward_shards(
        self,
        of_outputs: Vec<Vec<Option<Values>>>,
        update: &mut Update<'_>,
    ) -> Result<()> {
        let (part, plan) = (self.part.clone(), self.plan.clone());
        let back = |courier: &Courier<'_>| self.back(of_outputs, Some(courier)).map(|_| ());
        with_courier((part.shards(), &plan.sinks), update, back)
    }

    fn back(
        mut self,
        of_outputs: Vec<Vec<Option<Values>>>,
        courier: Option<&Courier<'_>>,
    ) -> Result<Vec<Vec<Option<Values>>>> {
        let mut grads: Vec<Grads> = self.shards.iter().map(|_| Grads::default()).collect();
        for ((shard, grads), of_outputs) in self.shards.iter().zip(&mut grads).zip(of_outputs) {
            for (output, grad) in shard.outputs(&self.plan).iter().zip(of_outputs) {
                grad.map_or(Ok(()), |grad| grads.add(output, grad))?;
            }
        }
        let plan = self.plan.clone();
        for (i, step) in plan.steps.iter().enumerate().rev() {
            self.step_back((i, step), &mut grads, courier)?;
        }
        let of_inputs = |(shard, grads): (&Shard, &mut Grads)| {
            let inputs = shard.acts.iter().take(self.n_inputs);
            let grad = |input: &Option<Act>| grads.take(input.as_ref()?).map(|grad| grad.values);
            inputs.map(grad).collect()
        };
        Ok(self.shards.iter().zip(&mut grads).map(of_inputs).collect())
    }

    /// One step backward, if a gradient came so far.
    fn step_back(
        &mut self,
        (i, step): (usize, &Step),
        grads: &mut [Grads],
        courier: Option<&Courier<'_>>,
    ) -> Result<()> {
        let mode = step.mode(self.mode);
        let (mut outputs, mut of_outputs) = (Vec::new(), Vec::new());
        for (shard, grads) in self.shards.iter_mut().zip(&mut *grads) {
            let Some(output) = shard.acts[step.output.act].take() else { continue };
            let Some(grad) = grads.take(&output) else { continue };
            of_outputs.push(unclamped(grad, &output)?);
            outputs.push(output);
        }
        if self.part.is_whole() && outputs.is_empty() {
            return Ok(());
        }
        if outputs.len() < self.shards.len() {
            return Err(unreached());
        }
        let inputs: Vec<Vec<Act>> = self.shards.iter().map(|shard| shard.inputs(step)).collect();
        let read: Vec<Vec<&Act>> = inputs.iter().map(|inputs| inputs.iter().collect()).collect();
        let weights = match courier {
            Some(_) => self.plan.sinks.of_shards(&step.weights, mode, &self.part)?,
            None => Vec::new(),
        };
        let slots: Vec<usize> = self.part.slots().collect();
        let mut steps = Vec::new();
        for (at, (shard, grads)) in self.shards.iter_mut().zip(grads).enumerate() {
            steps.push(Backward {
                inputs: &read[at],
                output: &outputs[at],
                weights: weights.get(slots[at]).map_or(&step.weights[..], |own| &own[..]),
                mode,
                first_row: self.part.first_row(at),
                saved: shard.saved[i].take(),
                grads,
            });
        }
        let common = Common { part: &self.part, weights: &step.weights, mode };
        backward(&*step.block, of_outputs, &mut steps, &common)?;
        drop(steps);
        let sums = self.plan.sinks.add_up(weights, &step.weights)?;
        courier.zip(sums).map_or(Ok(()), |(courier, sums)| courier.send(sums))
    }
}

fn unreached() -> Error {
    let reason = "of a batch in shards, a gradient must come to every part of the network";
    Error::config("shards", reason)
}

/// The outputs of `block`, where its inputs are.
fn forward(block: &dyn Block, steps: &mut [Forward<'_>], common: &Common<'_>) -> Result<Vec<Made>> {
    #[cfg(feature = "cuda")]
    if let [step] = steps
        && step.input(0).made().is_on_gpu()
    {
        return Ok(vec![block.on_gpu()?.forward(step)?.into()]);
    }
    block.forward(steps, common)
}

/// The backward of `block`, where `grads` are.
fn backward(
    block: &dyn Block,
    mut grads: Vec<Values>,
    steps: &mut [Backward<'_>],
    common: &Common<'_>,
) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let ([Values::Gpu(_)], [step]) = (&grads[..], &mut *steps) {
        let grad = grads.swap_remove(0).on_gpu()?;
        return block.on_gpu()?.backward(grad.reshape(step.output.dims())?, step);
    }
    let grads = grads.drain(..).map(Values::host).collect::<Result<Vec<Buffer>>>()?;
    block.backward(grads, steps, common)
}

impl Step {
    /// How it computes where the network does so in `mode`.
    fn mode(&self, mode: Mode) -> Mode {
        if self.rests { Mode::Eval } else { mode }
    }

    fn needs_grad(&self, inputs: &[Act], plan: &Plan) -> bool {
        let trains = plan.purpose == Purpose::Train
            && !self.rests
            && self.weights.iter().any(Weight::is_trained);
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
