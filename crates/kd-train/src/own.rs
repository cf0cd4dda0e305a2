//! What an objective learns beside the student, such as projectors: stepped and checkpointed with it, and no
//! part of the network that is exported.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use kd_core::ops::OptimizerSpec;
use kd_core::{Error, Params, Result};

use crate::optimizer::{Optimize, Optimizer};

/// Parameters and buffers of an objective, with the state of their optimizer.
pub(crate) struct Own {
    pub(crate) params: Params,
    optimizer: Optimizer,
}

impl Own {
    /// Before the first step.
    pub(crate) fn new(params: Params, spec: OptimizerSpec) -> Self {
        Self { optimizer: Optimizer::new(spec, &params), params }
    }

    /// One step of step number `n`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Config`] when nothing of it received a gradient: it would never learn.
    pub(crate) fn step(&mut self, grads: &GradStore, learning_rate: f64, n: u64) -> Result<()> {
        let Self { params, optimizer } = self;
        params.take_up(grads)?;
        if params.iter().next().is_some() && !params.have_grads() {
            return Err(Error::config("loss", "no parameter of its own received a gradient"));
        }
        optimizer.step(params, learning_rate, n)?;
        params.clear_grads();
        Ok(())
    }

    /// All of it by name, for a checkpoint.
    pub(crate) fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let named = |kind: &str, name: &str, tensor| (format!("{kind}/{name}"), tensor);
        let params = self.params.iter().map(|(name, p)| named("params", name, p.constant()));
        let buffers = self.params.buffers();
        let buffers = buffers.map(|(name, b)| named("buffers", name, b.as_detached_tensor()));
        let state = self.optimizer.tensors()?.into_iter();
        let state = state.map(|(name, tensor)| named("optimizer", &name, tensor));
        Ok(params.chain(buffers).chain(state).collect())
    }

    /// What [`Own::tensors`] gave; nothing where there is none, before the first step.
    pub(crate) fn load(
        tensors: &BTreeMap<String, Tensor>,
        spec: OptimizerSpec,
    ) -> Result<Option<Self>> {
        if tensors.is_empty() {
            return Ok(None);
        }
        let (mut params, mut state) = (Params::new(), BTreeMap::new());
        for (name, tensor) in tensors {
            match name.split_once('/') {
                Some(("params", name)) => drop(params.insert(name, tensor)?),
                Some(("buffers", name)) => {
                    params.insert_buffer_var(name, Var::from_tensor(tensor)?)?;
                }
                Some(("optimizer", name)) => drop(state.insert(name.to_owned(), tensor.clone())),
                _ => return Err(Error::config(name, "is no part of an objective's state")),
            }
        }
        let mut own = Self::new(params, spec);
        own.optimizer.load(&state)?;
        Ok(Some(own))
    }
}
