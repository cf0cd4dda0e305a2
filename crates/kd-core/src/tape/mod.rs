//! Many operations as one node of candle's graph.
//!
//! Key decision: candle's backward allocates a zeroed and a summed tensor for every edge of its
//! graph, and keeps every activation until the loss is dropped. For a convolutional network those
//! passes over memory cost up to a third of a training step. A [`Tape`] records a chain of
//! operations on its own: a gradient moves to where it is used, is summed in place where paths
//! meet, and each activation's memory returns to a pool as soon as the backward has passed it.
//! The values and gradients are the same bits.
//!
//! On a GPU the values are tensors, whose memory the driver pools. Each operation asks its input
//! where it is (`Act::gpu`) and goes on with its CUDA twin; a network is described once.

mod buffer;
mod made;
mod values;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{
    CpuStorage, CustomOp3, DType, Device, Layout, Result as CandleResult, Shape, Tensor, Var,
};

pub(crate) use buffer::Buffer;
pub(crate) use made::Made;
pub(crate) use values::Values;

use crate::ops::channels;
use crate::{Error, Mode, Result};

/// Activations of a batch on a [`Tape`]. Cloning shares the values.
#[derive(Debug, Clone)]
pub struct Act {
    id: usize,
    dims: Vec<usize>,
    made: Arc<Made>,
    needs_grad: bool,
}

impl Act {
    /// The shape, such as `(N, H, W, C)`.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The values, row-major, of an activation in CPU memory.
    ///
    /// # Panics
    /// On a GPU: an operation asks [`Act::gpu`] first.
    pub(crate) fn values(&self) -> &[f32] {
        self.made.get()
    }

    /// How they came to be.
    pub(crate) fn made(&self) -> &Made {
        &self.made
    }

    /// The values of an activation on a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(&self) -> Option<&Tensor> {
        self.made.gpu()
    }

    /// Whether the backward has to compute its gradient.
    pub(crate) fn needs_grad(&self) -> bool {
        self.needs_grad
    }

    /// The values, as a tensor of their own.
    fn tensor(&self) -> Result<Tensor> {
        self.made.values().tensor(self.dims())
    }
}

/// Operations in the order in which they ran, with what their backward needs.
pub struct Tape {
    mode: Mode,
    n_acts: usize,
    steps: Vec<Step>,
}

struct Step {
    output: usize,
    /// The output, where a ReLU made it.
    relu: Option<Act>,
    backward: Backward,
}

/// Takes the gradient of a step's output, and adds those of what the output was made from. Where
/// a ReLU made the output, the gradient has passed it already.
type Backward = Box<dyn FnOnce(Values, &mut Grads) -> Result<()> + Send>;

/// The gradients of activations that are known so far.
#[derive(Default)]
pub(crate) struct Grads(BTreeMap<usize, Grad>);

struct Grad {
    values: Values,
    /// Whether it has passed the ReLU that made the activation, if one did.
    through_relu: bool,
}

impl Grads {
    /// Takes out what is known of the gradient of `act`, for who adds it to more.
    pub(crate) fn take(&mut self, act: &Act) -> Option<Values> {
        self.0.remove(&act.id).map(|grad| grad.values)
    }

    /// Adds `grad`, which nothing else holds, to the gradient of `act`, if that needs one.
    pub(crate) fn add(&mut self, act: &Act, grad: impl Into<Values>) -> Result<()> {
        self.sum(act, Grad { values: grad.into(), through_relu: false })
    }

    /// The same for one that has passed the ReLU that made `act`, if one did.
    pub(crate) fn add_through_relu(&mut self, act: &Act, grad: impl Into<Values>) -> Result<()> {
        self.sum(act, Grad { values: grad.into(), through_relu: true })
    }

    fn sum(&mut self, act: &Act, grad: Grad) -> Result<()> {
        if !act.needs_grad {
            return Ok(());
        }
        match self.0.get_mut(&act.id) {
            None => drop(self.0.insert(act.id, grad)),
            Some(sum) => {
                sum.values.add(&grad.values)?;
                sum.through_relu &= grad.through_relu;
            }
        }
        Ok(())
    }
}

impl Step {
    fn run(self, mut grad: Grad, grads: &mut Grads) -> Result<()> {
        if let (Some(output), Values::Host(values), false) =
            (&self.relu, &mut grad.values, grad.through_relu)
        {
            channels::through_relu(values, output.values());
        }
        drop(self.relu);
        (self.backward)(grad.values, grads)
    }
}

impl Tape {
    fn new(mode: Mode) -> Self {
        Self { mode, n_acts: 0, steps: Vec::new() }
    }

    /// Whether the network is being trained.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    fn input(&mut self, x: &Tensor) -> Result<Act> {
        Ok(self.act(x.dims().to_vec(), Values::of(x)?.into(), x.track_op()))
    }

    fn act(&mut self, dims: Vec<usize>, made: Made, needs_grad: bool) -> Act {
        let id = self.n_acts;
        self.n_acts += 1;
        Act { id, dims, made: Arc::new(made), needs_grad }
    }

    /// What an operation with parameters made from `inputs`; in training it always needs a
    /// gradient.
    pub(crate) fn output(
        &mut self,
        dims: &[usize],
        values: impl Into<Made>,
        inputs: &[&Act],
    ) -> Act {
        let trains = matches!(self.mode, Mode::Train(_));
        self.act(dims.to_vec(), values.into(), trains || inputs.iter().any(|x| x.needs_grad))
    }

    /// How the gradient of `output` goes on; forgotten where none is needed.
    pub(crate) fn record(
        &mut self,
        output: &Act,
        backward: impl FnOnce(Buffer, &mut Grads) -> Result<()> + Send + 'static,
    ) {
        self.record_any(output, |grad, grads| backward(grad.host()?, grads));
    }

    /// [`Tape::record`], for gradients wherever they are.
    pub(crate) fn record_any(
        &mut self,
        output: &Act,
        backward: impl FnOnce(Values, &mut Grads) -> Result<()> + Send + 'static,
    ) {
        if output.needs_grad {
            let relu = output.made.relu().then(|| output.clone());
            self.steps.push(Step { output: output.id, relu, backward: Box::new(backward) });
        }
    }

    /// An operation on candle tensors as a step of the tape, for what is small: values and
    /// gradient are copied.
    ///
    /// # Errors
    /// Whatever `f` reports.
    pub fn tensor_op(&mut self, x: &Act, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Act> {
        let input = Var::from_tensor(&x.tensor()?)?;
        let input =
            if x.needs_grad { input.as_tensor().clone() } else { input.as_detached_tensor() };
        let y = f(&input)?.contiguous()?;
        let output = self.output(y.dims(), Values::of(&y)?, &[x]);
        let x = x.clone();
        self.record_any(&output, move |grad, grads| {
            let grad = grad.tensor(y.dims())?;
            let of_input = (y * grad)?.sum_all()?.backward()?;
            if let Some(grad) = of_input.get(&input) {
                grads.add(&x, Values::of(grad)?)?;
            }
            Ok(())
        });
        Ok(output)
    }

    /// `x + y`, value by value.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shapes differ.
    pub fn add(&mut self, x: &Act, y: &Act) -> Result<Act> {
        if x.dims != y.dims {
            return Err(Error::shape("y", format!("{:?}", x.dims), &y.dims));
        }
        let mut sum = x.made.values().copy()?;
        sum.add(y.made.values())?;
        let sum = self.output(&x.dims, sum, &[x, y]);
        let (x, y) = (x.clone(), y.clone());
        self.record_any(&sum, move |grad, grads| {
            grads.add(&x, grad.copy()?)?;
            grads.add(&y, grad)
        });
        Ok(sum)
    }
}

/// Runs `f` on a tape that begins with `x`, as one operation of candle's graph. In training the
/// operation is always recorded, since its parameters receive gradients.
///
/// # Errors
/// Whatever `f` reports. The backward can run once.
pub fn taped(
    x: &Tensor,
    mode: Mode,
    f: impl FnOnce(&mut Tape, &Act) -> Result<Act>,
) -> Result<Tensor> {
    taped_with(x, None, mode, |tape, x, _| f(tape, x))
}

/// [`taped`] with a second input, such as a residual.
///
/// # Errors
/// As [`taped`].
pub fn taped_with(
    x: &Tensor,
    other: Option<&Tensor>,
    mode: Mode,
    f: impl FnOnce(&mut Tape, &Act, Option<&Act>) -> Result<Act>,
) -> Result<Tensor> {
    buffer::next_run();
    let mut tape = Tape::new(mode);
    let inputs = (tape.input(x)?, other.map(|other| tape.input(other)).transpose()?);
    let output = f(&mut tape, &inputs.0, inputs.1.as_ref())?;
    let (id, dims, needs_grad) = (output.id, output.dims.clone(), output.needs_grad);
    let values = into_values(output)?;
    if !needs_grad {
        return values.into_tensor(&dims);
    }
    let [none, anchor] = anchors(x.device(), mode)?;
    let node = Node {
        output: Mutex::new(Some((values, dims.into()))),
        recorded: Mutex::new(Some(Recorded { steps: tape.steps, output: id, inputs })),
    };
    Ok(x.apply_op3(other.unwrap_or(&none), &anchor, node)?)
}

/// A tensor that stands for no second input, and one that is tracked in training: candle records an
/// operation only where one of its arguments is.
fn anchors(device: &Device, mode: Mode) -> Result<[Tensor; 2]> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return crate::cuda::Gpu::on(device)?.anchors(matches!(mode, Mode::Train(_)));
    }
    let none = Tensor::zeros(1, DType::F32, device)?;
    let anchor = match mode {
        Mode::Train(_) => Var::from_tensor(&none)?.as_tensor().clone(),
        Mode::Eval => none.clone(),
    };
    Ok([none, anchor])
}

fn into_values(act: Act) -> Result<Values> {
    Arc::try_unwrap(act.made)
        .map_or_else(|shared| shared.values().copy(), |made| Ok(made.into_values()))
}

/// A tape that has run, as candle's graph keeps it.
struct Node {
    output: Mutex<Option<(Values, Shape)>>,
    recorded: Mutex<Option<Recorded>>,
}

struct Recorded {
    steps: Vec<Step>,
    output: usize,
    inputs: (Act, Option<Act>),
}

impl Recorded {
    /// The gradients of the inputs, those that are needed, from the output's.
    fn backward(self, grad: Values) -> Result<[Option<Values>; 2]> {
        let grad = Grad { values: grad, through_relu: false };
        let mut grads = Grads(BTreeMap::from([(self.output, grad)]));
        for step in self.steps.into_iter().rev() {
            if let Some(grad) = grads.0.remove(&step.output) {
                step.run(grad, &mut grads)?;
            }
        }
        let mut of = |act: &Act| grads.take(act);
        Ok([of(&self.inputs.0), self.inputs.1.as_ref().and_then(of)])
    }
}

fn once<T>(cell: &Mutex<Option<T>>) -> Result<T> {
    let value = cell.lock().unwrap_or_else(PoisonError::into_inner).take();
    value.ok_or_else(|| Error::config("backward", "a tape runs once, forward and backward"))
}

impl CustomOp3 for Node {
    fn name(&self) -> &'static str {
        "tape"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let (values, shape) = once(&self.output)?;
        Ok((CpuStorage::F32(values.host()?.into_vec()), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        let (values, shape) = once(&self.output)?;
        Ok((crate::cuda::storage_copy(&values.on_gpu()?)?, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        other: &Tensor,
        _anchor: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [to_x, to_other] = once(&self.recorded)?.backward(Values::copy_of(grad)?)?;
        let tensor = |values: Option<Values>, like: &Tensor| {
            values.map(|values| values.into_tensor(like.dims())).transpose()
        };
        Ok((tensor(to_x, x)?, tensor(to_other, other)?, None))
    }
}
