//! The state of an optimizer on a GPU: all parameters of a network in one launch.
//!
//! Key decision: the state lies in one tensor for each of its parts, parameter after parameter. A
//! step sends the kernel a table of addresses and waits for nothing.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::{Adam, Sgd};
use crate::{Error, Params, Result};

/// The state of an optimizer of all parameters of a network that is on a GPU.
#[derive(Debug)]
pub struct Moments {
    /// Name and number of values of each parameter, in the order of the names.
    slots: Vec<(String, usize)>,
    /// What the state consists of, such as `velocity`.
    parts: &'static [&'static str],
    device: Device,
    /// One tensor a part; nothing before the first step, when all is zero.
    state: Vec<Tensor>,
}

impl Moments {
    /// Adam's, before its first step.
    pub fn adam(params: &Params) -> Self {
        Self::new(params, &["first", "second"])
    }

    /// SGD's, before its first step.
    pub fn sgd(params: &Params) -> Self {
        Self::new(params, &["velocity"])
    }

    fn new(params: &Params, parts: &'static [&'static str]) -> Self {
        let slot = |(name, param): (&str, &crate::Param)| (name.into(), param.var().elem_count());
        let slots = params.iter().map(slot).collect();
        Self { slots, parts, device: params.device(), state: Vec::new() }
    }

    /// Step number `step`, counted from 1, of every parameter that has a gradient.
    ///
    /// # Errors
    /// [`Error::Config`] when `params` are others, or not on a GPU.
    pub fn adam_step(
        &mut self,
        adam: &Adam,
        learning_rate: f64,
        step: u64,
        params: &Params,
    ) -> Result<()> {
        let rates = super::cpu::AdamRates::new(adam, learning_rate, step);
        self.launch("adam", &rates.words(), params)
    }

    /// As [`Moments::adam_step`].
    ///
    /// # Errors
    /// As [`Moments::adam_step`].
    pub fn sgd_step(
        &mut self,
        sgd: &Sgd,
        learning_rate: f64,
        step: u64,
        params: &Params,
    ) -> Result<()> {
        let rates = super::cpu::SgdRates::new(sgd, learning_rate, step);
        self.launch("sgd", &rates.words(), params)
    }

    fn launch(&mut self, kernel: &'static str, rates: &[f32], params: &Params) -> Result<()> {
        if self.state.is_empty() {
            let n = self.n_values();
            let zeros = |_| Ok(Tensor::zeros(n, DType::F32, &self.device)?);
            self.state = self.parts.iter().map(zeros).collect::<Result<_>>()?;
        }
        let mut steps = Vec::with_capacity(self.slots.len());
        let mut start = 0;
        for (name, n) in &self.slots {
            let param = params.get(name).filter(|param| param.var().elem_count() == *n);
            let param =
                param.ok_or_else(|| Error::config(name, "the network has no such parameter"))?;
            if let Some(grad) = param.grad().get() {
                steps.push((param.var().as_tensor(), grad, start));
            }
            start += n;
        }
        #[cfg(feature = "cuda")]
        return super::cuda::step(kernel, rates, &steps, &self.state);
        #[cfg(not(feature = "cuda"))]
        return Err(Error::config("device", format!("no {kernel} for {rates:?} without CUDA")));
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
                tensors.insert(format!("{name}/{part}"), all.narrow(0, start, *n)?.copy()?);
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
