//! Buffers for the gradients of single shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rayon::prelude::*;

use crate::gemm::Write;
use crate::ops::slices;
use crate::ops::step::Weight;
use crate::shards::{Part, pairs};
use crate::{Grad, Mode, Result};

/// Buffers that are not in use, by shape.
#[derive(Default)]
pub(super) struct Sinks(Mutex<BTreeMap<Vec<usize>, Vec<Arc<Grad>>>>);

/// What a step has of its trained tensors: the sums of their gradients over the shards of this rank.
pub(super) struct Parcel {
    pub(super) weights: Vec<Weight>,
    pub(super) sums: Vec<Arc<Grad>>,
}

impl Sinks {
    /// For each shard of the rank the tensors `weights` of a step, with buffers of its own for gradients; nothing
    /// where none is trained.
    pub(super) fn of_shards(
        &self,
        weights: &[Weight],
        mode: Mode,
        part: &Part,
    ) -> Result<Vec<Vec<Weight>>> {
        if !matches!(mode, Mode::Train(_)) || !weights.iter().any(Weight::is_trained) {
            return Ok(Vec::new());
        }
        let own = |weight: &Weight| {
            let grad = weight.grad.as_ref().map(|_| self.take(weight)).transpose()?;
            Ok(Weight { value: weight.value.clone(), grad })
        };
        let shard = |_| weights.iter().map(own).collect();
        part.shards().own().map(shard).collect()
    }

    fn take(&self, weight: &Weight) -> Result<Arc<Grad>> {
        let mut free = self.0.lock();
        match free.get_mut(weight.value.dims()).and_then(Vec::pop) {
            Some(grad) => Ok(grad),
            None => Ok(Arc::new(Grad::like(&weight.value)?)),
        }
    }

    /// Adds up what the shards have for the trained ones of `weights`; nothing where none is trained.
    pub(super) fn add_up(
        &self,
        shards: Vec<Vec<Weight>>,
        weights: &[Weight],
    ) -> Result<Option<Parcel>> {
        let grads = |weights: Vec<Weight>| -> Vec<Arc<Grad>> {
            weights.into_iter().filter_map(|weight| weight.grad).collect()
        };
        let mut shards: Vec<Vec<Arc<Grad>>> = shards.into_iter().map(grads).collect();
        shards.iter().flatten().try_for_each(|grad| fill(grad))?;
        for (first, next) in pairs(shards.len()) {
            let grads = shards[first].iter().zip(&shards[next]);
            grads.into_iter().try_for_each(|(sum, other)| add(sum, other))?;
        }
        self.give_back(shards.drain(1.min(shards.len())..).flatten().collect());
        let weights = weights.iter().filter(|weight| weight.is_trained()).cloned().collect();
        Ok(shards.pop().map(|sums| Parcel { weights, sums }))
    }

    /// Takes back buffers that nobody needs any more.
    pub(super) fn give_back(&self, grads: Vec<Arc<Grad>>) {
        let mut free = self.0.lock();
        for grad in grads {
            grad.clear();
            free.entry(grad.buffer().dims().to_vec()).or_default().push(grad);
        }
    }
}

/// Zeros, where a shard has no images.
fn fill(grad: &Grad) -> Result<()> {
    let (buffer, write) = grad.write();
    match write {
        Write::Set => Ok(slices::with_mut(buffer, |values| values.fill(0.0))?),
        Write::Add => Ok(()),
    }
}

/// Values that one task adds.
const TASK: usize = 1 << 16;

fn add(sum: &Grad, other: &Grad) -> Result<()> {
    let (sum, other) = (sum.buffer(), other.buffer());
    slices::with(other, |other| {
        slices::with_mut(sum, |sum| {
            let tasks = sum.par_chunks_mut(TASK).zip(other.par_chunks(TASK));
            tasks.for_each(|(sum, other)| sum.iter_mut().zip(other).for_each(|(a, b)| *a += b));
        })
    })?;
    Ok(())
}
