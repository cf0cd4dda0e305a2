//! Activations of a batch, on their way through a network and back.
//!
//! Key decision: a gradient moves to where it is used, is summed in place where paths meet, and each
//! activation's memory returns to a pool as soon as nothing reads it any more. candle's own graph
//! allocates a zeroed and a summed tensor for every edge, which costs a convolutional network up to
//! a third of a training step.
//!
//! Maps of features lie as `(N, H, W, C)`, vectors as `(N, F)`.

mod buffer;
mod clamp;
mod made;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(feature = "cuda")]
use candle_core::Tensor;

pub use buffer::Buffer;
pub(crate) use buffer::next_run;
pub use clamp::Clamp;
pub use made::Made;
pub use values::Values;

use crate::Result;
use crate::gemm::Matrix;

/// Activations of a batch. Cloning shares the values.
#[derive(Debug, Clone)]
pub struct Act {
    id: usize,
    dims: Vec<usize>,
    /// Gone when nothing reads them any more.
    made: Option<Arc<Made>>,
    needs_grad: bool,
}

impl Act {
    /// The activation number `id` of a run.
    pub(crate) fn new(id: usize, dims: Vec<usize>, made: Made, needs_grad: bool) -> Self {
        Self::of_shared(id, dims, Arc::new(made), needs_grad)
    }

    /// The same of values that other runs may read, too.
    pub(crate) fn of_shared(
        id: usize,
        dims: Vec<usize>,
        made: Arc<Made>,
        needs_grad: bool,
    ) -> Self {
        Self { id, dims, made: Some(made), needs_grad }
    }

    /// The shape: `[N, H, W, C]` or `[N, F]`.
    pub(crate) fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Number of values of the last axis: channels.
    pub(crate) fn n_channels(&self) -> usize {
        self.dims.last().copied().unwrap_or(1)
    }

    /// The values, row-major, of an activation in CPU memory.
    ///
    /// # Panics
    /// When the step that reads them did not say so, or they are on a GPU.
    pub(crate) fn values(&self) -> &[f32] {
        self.made().get()
    }

    /// The values of each example as a row.
    ///
    /// # Panics
    /// As [`Act::values`].
    pub(crate) fn matrix(&self) -> Matrix<'_> {
        let n = self.dims[0];
        let rows = Matrix::new(self.values(), n, self.dims[1..].iter().product());
        rows.listed(self.made().listed())
    }

    /// How the values came to be.
    ///
    /// # Panics
    /// When the step that reads them did not say so.
    pub(crate) fn made(&self) -> &Made {
        self.made.as_deref().expect("invariant: a step reads what it said that it would")
    }

    /// Whether they are still there.
    pub(crate) fn is_kept(&self) -> bool {
        self.made.is_some()
    }

    /// Gives the values up.
    pub(crate) fn release(&mut self) {
        self.made = None;
    }

    /// The values, copied where another activation shares them.
    pub(crate) fn into_values(self) -> Result<Values> {
        let made = self.made.expect("invariant: a step reads what it said that it would");
        Arc::try_unwrap(made)
            .map_or_else(|shared| shared.values().copy(), |made| Ok(made.into_values()))
    }

    /// The same values in another shape.
    pub(crate) fn reshaped(&self, id: usize, dims: Vec<usize>) -> Self {
        Self { id, dims, ..self.clone() }
    }

    /// The values of an activation on a GPU, in its shape.
    ///
    /// # Errors
    /// [`crate::Error::Config`] in CPU memory.
    ///
    /// # Panics
    /// As [`Act::made`].
    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(&self) -> Result<Tensor> {
        Ok(self.made().values().gpu()?.reshape(self.dims())?)
    }

    /// Whether the backward has to compute its gradient.
    pub(crate) fn needs_grad(&self) -> bool {
        self.needs_grad
    }
}

/// The gradients of activations that are known so far.
#[derive(Default)]
pub struct Grads(BTreeMap<usize, Grad>);

/// A gradient of an activation.
pub(crate) struct Grad {
    pub(crate) values: Values,
    /// Whether it has passed the clamp that made the activation, if one did.
    pub(crate) through_clamp: bool,
}

impl Grads {
    /// Takes out what is known of the gradient of `act`.
    pub(crate) fn take(&mut self, act: &Act) -> Option<Grad> {
        self.0.remove(&act.id)
    }

    /// Adds `grad`, which nothing else holds, to the gradient of `act`, if that needs one.
    pub(crate) fn add(&mut self, act: &Act, grad: impl Into<Values>) -> Result<()> {
        self.sum(act, Grad { values: grad.into(), through_clamp: false })
    }

    /// The same for one that has passed the clamp that made `act`, if one did.
    pub(crate) fn add_through_clamp(&mut self, act: &Act, grad: impl Into<Values>) -> Result<()> {
        self.sum(act, Grad { values: grad.into(), through_clamp: true })
    }

    fn sum(&mut self, act: &Act, grad: Grad) -> Result<()> {
        if !act.needs_grad {
            return Ok(());
        }
        match self.0.get_mut(&act.id) {
            None => drop(self.0.insert(act.id, grad)),
            Some(sum) => {
                sum.values.add(&grad.values)?;
                sum.through_clamp &= grad.through_clamp;
            }
        }
        Ok(())
    }
}
