//! The state of an optimizer, on whichever device the parameters are.
//!
//! Key decision: the state lies in one tensor for each of its parts, parameter after parameter. On a
//! GPU a step is one launch for all parameters: it sends the kernel a table of addresses and waits for
//! nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use super::OptimizerSpec;
use crate::ops::slices;
use crate::{Error, Params, Result, positive};

/// A parameter, its gradient, and where its state begins.
type Step<'p> = (&'p Tensor, &'p Tensor, usize);

/// The state of an optimizer for all parameters of a network.
#[derive(Debug)]
pub struct Moments {
    /// Name and number of values of each parameter, in the order of the names.
    slots: Vec<(String, usize)>,
    /// What the learning rate of some parameters is multiplied by.
    factors: BTreeMap<String, f64>,
    /// What the state consists of, such as `velocity`.
    parts: &'static [&'static str],
    device: Device,
    /// One tensor a part; nothing before the first step, when all is zero.
    state: Vec<Tensor>,
}

impl Moments {
    /// That of `spec` before its first step.
    pub fn new(spec: &OptimizerSpec, params: &Params) -> Self {
        let slot = |(name, param): (&str, &crate::Param)| (name.into(), param.var().elem_count());
        let slots = params.iter().map(slot).collect();
        let (parts, device) = (spec.as_dyn().parts(), params.device());
        Self { slots, factors: BTreeMap::new(), parts, device, state: Vec::new() }
    }

    /// The same, with learning rates of their own for some parameters: `factors` times that of a step.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that is no parameter, and for a factor that is not above 0.
    pub fn with_factors(mut self, factors: BTreeMap<String, f64>) -> Result<Self> {
        for (name, factor) in &factors {
            if !self.slots.iter().any(|(known, _)| known == name) {
                return Err(Error::config(name, "the network trains no parameter of this name"));
            }
            positive(name, *factor)?;
        }
        self.factors = factors;
        Ok(self)
    }

    /// Moves every parameter that has a gradient by the step of this number, counted from 1, at this
    /// learning rate.
    ///
    /// # Errors
    /// [`Error::Config`] when `params` are others, or `spec` is another one; [`Error::Shape`] when a
    /// gradient has not its parameter's shape.
    pub fn step(
        &mut self,
        spec: &OptimizerSpec,
        (learning_rate, step): (f64, u64),
        params: &Params,
    ) -> Result<()> {
        self.begin(spec)?;
        let steps = self.steps(params)?;
        steps.iter().try_for_each(|(factor, steps)| {
            self.step_all(spec, (learning_rate * f64::from_bits(*factor), step), steps)
        })
    }

    /// The same for the values `part` of one parameter, in CPU memory, whose gradients are `grads`.
    ///
    /// # Errors
    /// As [`Moments::step`].
    pub fn step_part(
        &mut self,
        spec: &OptimizerSpec,
        (learning_rate, step): (f64, u64),
        (name, param): (&str, &crate::Param),
        (part, grads): (Range<usize>, &[f32]),
    ) -> Result<()> {
        self.begin(spec)?;
        let slot = self.slots.iter().position(|(known, _)| known == name);
        let slot = slot.filter(|_| part.end <= param.var().elem_count());
        let slot = slot.ok_or_else(|| Error::config(name, "the network has no such parameter"))?;
        let start: usize = self.slots[..slot].iter().map(|(_, n)| n).sum();
        let rate = learning_rate * self.factor(name);
        self.step_values(spec, (rate, step), (param.var(), start), (part, grads))
    }

    /// Makes the state, where there is none yet.
    fn begin(&mut self, spec: &OptimizerSpec) -> Result<()> {
        if spec.as_dyn().parts() != self.parts {
            return Err(Error::config("optimizer", "this is the state of another optimizer"));
        }
        if self.state.is_empty() {
            let n = self.n_values();
            let zeros = |_| Ok(Tensor::zeros(n, DType::F32, &self.device)?);
            self.state = self.parts.iter().map(zeros).collect::<Result<_>>()?;
        }
        Ok(())
    }

    fn factor(&self, name: &str) -> f64 {
        self.factors.get(name).copied().unwrap_or(1.0)
    }

    /// The step of parameters of one learning rate.
    fn step_all(
        &self,
        spec: &OptimizerSpec,
        rate_and_number: (f64, u64),
        steps: &[Step<'_>],
    ) -> Result<()> {
        #[cfg(feature = "cuda")]
        if self.device.is_cuda() {
            let rates = spec.as_dyn().rates(rate_and_number);
            return super::cuda::step(spec.name(), &rates, steps, &self.state);
        }
        steps.iter().try_for_each(|(param, grad, start)| {
            Ok(slices::with(grad, |grad| {
                let all = 0..grad.len();
                Ok(self.step_values(spec, rate_and_number, (param, *start), (all, grad))?)
            })?)
        })
    }

    /// The step of the values `part` of a parameter whose state begins at `start`.
    fn step_values(
        &self,
        spec: &OptimizerSpec,
        rate_and_number: (f64, u64),
        (param, start): (&Tensor, usize),
        (part, grads): (Range<usize>, &[f32]),
    ) -> Result<()> {
        let mut all = vec![param];
        all.extend(&self.state);
        Ok(slices::with_all_mut(&all, &mut |values| {
            let Some((param, state)) = values.split_first_mut() else { return };
            let own = start + part.start..start + part.end;
            let mut state: Vec<_> = state.iter_mut().map(|s| &mut s[own.clone()]).collect();
            spec.as_dyn().step(rate_and_number, &mut param[part.clone()], grads, &mut state);
        })?)
    }

    /// The parameters that have a gradient, by the bits of their factor of the learning rate.
    fn steps<'p>(&self, params: &'p Params) -> Result<BTreeMap<u64, Vec<Step<'p>>>> {
        let mut steps: BTreeMap<u64, Vec<Step<'p>>> = BTreeMap::new();
        let mut start = 0;
        for (name, n) in &self.slots {
            let param = params.get(name).filter(|param| param.var().elem_count() == *n);
            let param =
                param.ok_or_else(|| Error::config(name, "the network has no such parameter"))?;
            if let Some(grad) = param.grad().get() {
                let param = param.var().as_tensor();
                if grad.dims() != param.dims() {
                    return Err(Error::shape(name, format!("{:?}", param.dims()), grad.dims()));
                }
                steps.entry(self.factor(name).to_bits()).or_default().push((param, grad, start));
            }
            start += n;
        }
        Ok(steps)
    }

    fn n_values(&self) -> usize {
        self.slots.iter().map(|(_, n)| n).sum()
    }

    /// The state, `PARAMETER/PART`, in CPU memory.
    ///
    /// # Errors
    /// When the GPU cannot be read.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut tensors = BTreeMap::new();
        for (i, part) in self.parts.iter().enumerate() {
            let all = match self.state.get(i) {
                Some(state) => state.to_device(&Device::Cpu)?,
                None => Tensor::zeros(self.n_values(), DType::F32, &Device::Cpu)?,
            };
            let mut start = 0;
            for (name, n) in &self.slots {
                // candle's `copy` of a part of a tensor keeps all of it.
                tensors.insert(
                    format!("{name}/{part}"),
                    all.narrow(0, start, *n)?.force_contiguous()?,
                );
                start += n;
            }
        }
        Ok(tensors)
    }

    /// Takes up what [`Moments::tensors`] gave.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Shape`] when a part is missing or of another size.
    pub fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        if self.slots.is_empty() {
            return Ok(());
        }
        let mut state = Vec::new();
        for part in self.parts {
            let slots = self.slots.iter().map(|(name, n)| {
                let key = format!("{name}/{part}");
                let tensor = tensors
                    .get(&key)
                    .ok_or_else(|| Error::config(&key, "the checkpoint lacks this state"))?;
                if tensor.dims() != [*n] {
                    return Err(Error::shape(key, format!("({n},)"), tensor.dims()));
                }
                Ok(tensor.to_device(&self.device)?)
            });
            state.push(Tensor::cat(&slots.collect::<Result<Vec<_>>>()?, 0)?);
        }
        self.state = state;
        Ok(())
    }
}
