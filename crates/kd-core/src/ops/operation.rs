//! What every operation of a network says of itself.
//!
//! Key decision: an operation is plain data, and whatever walks a network (shapes, counts, the
//! executor, files of other programs) asks the operation through this trait. Nothing else has a
//! list of operations.

use serde::{Deserialize, Serialize};

use crate::act::{Buffer, Clamp, Made};
use crate::ops::onnx::Operator;
use crate::ops::step::{Backward, Forward, Reads};
use crate::simd::vectorized;
use crate::{Error, Result};

/// What was asked for, or why it cannot be, in words; the node's name is added further out.
pub type Checked<T> = std::result::Result<T, String>;

/// An operation of a network.
///
/// Shapes are those of one example: `[C, H, W]` for images and maps of features, `[F]` for
/// vectors.
pub trait Operation {
    /// The least and the greatest number of inputs.
    fn n_inputs(&self) -> (usize, usize) {
        (1, 1)
    }

    /// The shape of the output; refuses settings outside their domain and inputs that do not fit.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>>;

    /// The operation as operators of ONNX, the last of which makes its output, for inputs that
    /// [`Operation::shape`] takes; none where it changes nothing in evaluation.
    fn onnx(&self, inputs: &[&[usize]]) -> Vec<Operator>;

    /// The tensors that belong to the operation, for inputs that [`Operation::shape`] takes.
    fn params(&self, _inputs: &[&[usize]]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// Multiply-adds for one example; only those of convolutions and matrix products count, as
    /// in the tables of papers.
    fn multiply_adds(&self, _inputs: &[&[usize]], _output: &[usize]) -> u64 {
        0
    }

    /// Computes the output in CPU memory, for inputs that [`Operation::shape`] takes. Those that the
    /// executor joins with others (convolution, batch norm, linear layer, sum) it computes itself.
    ///
    /// # Errors
    /// When candle refuses.
    fn forward(&self, _step: &mut Forward<'_>) -> Result<Made> {
        Err(Error::config("forward", "the executor computes this operation"))
    }

    /// Adds the gradients of the inputs that need one, and those of the trained tensors, from
    /// `grad`, that of the output.
    ///
    /// # Errors
    /// When candle refuses.
    fn backward(&self, _grad: Buffer, _step: &mut Backward<'_>) -> Result<()> {
        Err(Error::config("backward", "the executor computes this operation"))
    }

    /// How it computes on a GPU, if it can.
    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Option<&dyn crate::ops::step::OnGpu> {
        None
    }

    /// Which values [`Operation::backward`] reads; it has no others.
    fn reads(&self) -> Reads {
        Reads { inputs: false, output: false }
    }

    /// The operation as a clamp, if it is one: then other operations do it on their way.
    fn clamp(&self) -> Option<Clamp> {
        None
    }

    /// Whether the output of a clamp, as input, makes the output that of the same clamp: a maximum
    /// does.
    fn keeps_clamp(&self) -> bool {
        false
    }

    /// Applies the operation to `values` in place, if it is a function of each value alone; false if
    /// it is not, and nothing has happened then. Other operations call it for blocks that are in the
    /// cache.
    fn map(&self, values: &mut [f32]) -> bool {
        let clamp = self.clamp();
        if let Some(clamp) = clamp {
            vectorized(
                #[inline(always)]
                || clamp.apply(values),
            );
        }
        clamp.is_some()
    }
}

/// A tensor that belongs to an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSpec {
    /// Its name within the node, such as `weight`.
    pub name: &'static str,
    /// Its shape, as PyTorch stores it.
    pub shape: Vec<usize>,
    /// How it begins.
    pub init: Init,
    /// How many values a value of the output is made from, and one of the input goes to, as PyTorch
    /// counts them: what initial values depend on.
    pub fans: [usize; 2],
    /// Whether it is trained; running statistics are not.
    pub trained: bool,
}

impl ParamSpec {
    /// A trained tensor.
    pub(crate) fn trained(name: &'static str, shape: &[usize], init: Init) -> Self {
        Self { name, shape: shape.to_vec(), init, fans: [1; 2], trained: true }
    }

    /// With this fan-in and fan-out.
    pub(crate) fn fans(self, fan_in: usize, fan_out: usize) -> Self {
        Self { fans: [fan_in, fan_out], ..self }
    }

    /// A tensor that belongs to the weights but is not trained.
    pub(crate) fn buffer(name: &'static str, shape: &[usize], init: Init) -> Self {
        Self { trained: false, ..Self::trained(name, shape, init) }
    }
}

/// How a tensor begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// PyTorch's default for convolutions and linear layers, weight and bias alike:
    /// `U(-1/sqrt(fan_in), 1/sqrt(fan_in))`.
    #[default]
    Pytorch,
    /// `N(0, 2 / fan_in)` (He et al. 2015), as the first CIFAR ResNets.
    KaimingFanIn,
    /// `N(0, 2 / fan_out)`, as torchvision's ResNets.
    KaimingFanOut,
    /// `N(0, std^2)`.
    Normal(f64),
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
}

/// The three sizes of a map of features.
///
/// # Errors
/// For another shape, and for one without pixels.
pub(crate) fn chw(shape: &[usize]) -> Checked<[usize; 3]> {
    match shape {
        &[c, h, w] if c * h * w > 0 => Ok([c, h, w]),
        _ => Err(format!("needs (C, H, W) with pixels, got {shape:?}")),
    }
}

/// The common shape of all inputs.
pub(crate) fn same_shape(inputs: &[&[usize]]) -> Checked<Vec<usize>> {
    match inputs.iter().find(|shape| **shape != inputs[0]) {
        None => Ok(inputs[0].to_vec()),
        Some(other) => Err(format!("the inputs differ: {:?} and {other:?}", inputs[0])),
    }
}

/// `(size + before + after - reach) / stride + 1`, where that is a size.
pub(crate) fn n_windows(
    size: usize,
    (before, after): (usize, usize),
    reach: usize,
    stride: usize,
) -> Option<usize> {
    let padded = size.checked_add(before)?.checked_add(after)?;
    Some(padded.checked_sub(reach)? / stride + 1)
}
