//! What an operation is given when a network runs forward and backward.

use std::any::Any;
use std::sync::Arc;

use candle_core::Tensor;

use crate::act::{Act, Grads, Values};
use crate::{Error, Mode, Result};

/// A tensor that belongs to a step, and where its gradient goes.
#[derive(Debug, Clone)]
pub struct Weight {
    /// Shares memory with the network's parameter.
    pub(crate) value: Tensor,
    /// Nothing for what is not trained.
    pub(crate) grad: Option<Arc<crate::Grad>>,
}

impl Weight {
    /// Whether it has a gradient.
    pub(crate) fn is_trained(&self) -> bool {
        self.grad.is_some()
    }
}

/// One step forward.
pub struct Forward<'a> {
    pub(crate) inputs: &'a [&'a Act],
    /// In the order of the operation's `params`.
    pub(crate) weights: &'a [Weight],
    pub(crate) mode: Mode,
    /// Row in the batch of its first example.
    pub(crate) first_row: usize,
    /// What the backward needs beside inputs and output.
    pub(crate) saved: Option<Box<dyn Any + Send>>,
}

impl<'a> Forward<'a> {
    /// Input number `i`.
    pub(crate) fn input(&self, i: usize) -> &'a Act {
        self.inputs[i]
    }

    /// The tensor number `i` of the operation.
    pub(crate) fn weight(&self, i: usize) -> &'a Tensor {
        &self.weights[i].value
    }

    /// Keeps `what` for the backward.
    pub(crate) fn save<T: Send + 'static>(&mut self, what: T) {
        self.saved = Some(Box::new(what));
    }
}

/// One step backward.
pub struct Backward<'a> {
    /// With values only where the operation reads them, see `Reads`.
    pub(crate) inputs: &'a [&'a Act],
    /// As the inputs.
    pub(crate) output: &'a Act,
    pub(crate) weights: &'a [Weight],
    pub(crate) mode: Mode,
    /// Row in the batch of its first example.
    pub(crate) first_row: usize,
    pub(crate) saved: Option<Box<dyn Any + Send>>,
    pub(crate) grads: &'a mut Grads,
}

impl<'a> Backward<'a> {
    /// Input number `i`.
    pub(crate) fn input(&self, i: usize) -> &'a Act {
        self.inputs[i]
    }

    /// The tensor number `i` of the operation.
    pub(crate) fn weight(&self, i: usize) -> &'a Tensor {
        &self.weights[i].value
    }

    /// Where the gradient of tensor number `i` goes, when it is trained.
    pub(crate) fn sink(&self, i: usize) -> Option<&'a crate::Grad> {
        match self.mode {
            Mode::Train(_) => self.weights.get(i)?.grad.as_deref(),
            Mode::Eval => None,
        }
    }

    /// What the forward saved.
    ///
    /// # Errors
    /// [`Error::Config`] when it was something else.
    pub(crate) fn saved<T: 'static>(&mut self) -> Result<Box<T>> {
        let saved = self.saved.take().and_then(|saved| saved.downcast().ok());
        saved.ok_or_else(|| Error::config("backward", "the forward has saved something else"))
    }

    /// Adds `grad` to the gradient of input number `i`, if that needs one.
    pub(crate) fn add(&mut self, i: usize, grad: impl Into<Values>) -> Result<()> {
        self.grads.add(self.inputs[i], grad)
    }
}

/// How something computes on a GPU, where values and gradients are tensors.
#[cfg(feature = "cuda")]
pub trait OnGpu {
    /// As [`crate::ops::Operation::forward`]. Nothing writes to the values that are returned any more.
    ///
    /// # Errors
    /// When the driver or a library refuses.
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor>;

    /// As [`crate::ops::Operation::backward`], but takes `grad` through the clamp that made the output
    /// itself. `grad` has the output's shape, and nothing else reads it.
    ///
    /// # Errors
    /// When the driver or a library refuses.
    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()>;
}

/// What has no implementation on a GPU says so.
#[cfg(feature = "cuda")]
pub(crate) fn not_on_gpu(name: &str) -> Error {
    let reason = format!("the operation `{name}` has no GPU implementation yet; use --device cpu");
    Error::config("device", reason)
}

/// Which values an operation's backward reads; all others are given up after the forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    /// Those of its inputs.
    pub(crate) inputs: bool,
    /// Those of its output.
    pub(crate) output: bool,
}
