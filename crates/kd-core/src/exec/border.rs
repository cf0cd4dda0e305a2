//! Where a network meets candle's graph.
//!
//! Key decision: one run is a few nodes of candle's graph, whatever it computes. The tensors that it
//! reads lead to a token of one number, and each of its outputs begins at the token. candle calls
//! the backward of a node only after those of all that depend on it: the outputs note their
//! gradients, and the token's backward then runs the whole network backward, once.

use std::sync::Arc;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result as CandleResult, Shape, Tensor, Var,
};
use parking_lot::Mutex;

use super::purpose::Purpose;
use super::run::Run;
use crate::act::{Act, Values};
use crate::{Error, Result};

/// Runs backward, from the gradients of the outputs to those of the tensors that were read.
pub(super) type Backward =
    Box<dyn FnOnce(Run, Vec<Option<Values>>) -> Result<Vec<Option<Tensor>>> + Send>;

/// A run as candle's graph keeps it.
struct State {
    /// Until the backward.
    run: Option<(Run, Backward)>,
    /// Values of the outputs, until candle has them.
    outputs: Vec<Option<Values>>,
    of_outputs: Vec<Option<Values>>,
    /// After the backward.
    of_args: Vec<Option<Tensor>>,
}

type Shared = Arc<Mutex<State>>;

fn ran_already() -> Error {
    Error::config("backward", "a network runs backward once for each forward")
}

/// The outputs of a run: no gradient reaches them where a network only evaluates.
pub(super) fn outputs(
    run: Run,
    args: &[&Tensor],
    purpose: Purpose,
    backward: Backward,
) -> Result<Vec<Tensor>> {
    if purpose == Purpose::Evaluate {
        return untracked(run);
    }
    tracked(run, args, purpose == Purpose::Train, backward)
}

/// The outputs of a run as tensors that no gradient reaches.
pub(super) fn untracked(run: Run) -> Result<Vec<Tensor>> {
    let outputs = run.into_outputs().into_iter();
    outputs
        .map(|act| {
            let dims = act.dims().to_vec();
            act.into_values()?.into_tensor(&dims)
        })
        .collect()
}

/// The outputs of a run as tensors of candle's graph. Their gradients go to `args`, those tensors
/// that are tracked; in training (`trains`) the run goes backward even if none is.
pub(super) fn tracked(
    run: Run,
    args: &[&Tensor],
    trains: bool,
    backward: Backward,
) -> Result<Vec<Tensor>> {
    let acts = run.outputs();
    let dims: Vec<Vec<usize>> = acts.iter().map(|act| act.dims().to_vec()).collect();
    let outputs = acts.into_iter().map(|act| act.into_values().map(Some));
    let outputs: Vec<_> = outputs.collect::<Result<_>>()?;
    let of_outputs = outputs.iter().map(|_| None).collect();
    let run = Some((run, backward));
    let state = State { run, outputs, of_outputs, of_args: Vec::new() };
    let state = Arc::new(Mutex::new(state));
    let device = args[0].device();
    let mut token = Tensor::zeros(1, DType::F32, device)?;
    if trains {
        token = Var::from_tensor(&token)?.as_tensor().clone();
    }
    for (index, arg) in args.iter().enumerate() {
        token = arg.apply_op2(&token, Arg { index, state: state.clone() })?;
    }
    let output = |(index, dims): (usize, Vec<usize>)| {
        Ok(token.apply_op1(Output { index, dims, state: state.clone() })?)
    };
    dims.into_iter().enumerate().map(output).collect()
}

/// From a tensor that the run read, and the token so far, to the token.
struct Arg {
    index: usize,
    state: Shared,
}

impl Arg {
    /// The gradient of this tensor; the first one who asks runs the network backward.
    fn grad(&self) -> Result<Option<Tensor>> {
        let mut state = self.state.lock();
        if let Some((run, backward)) = state.run.take() {
            let of_outputs = std::mem::take(&mut state.of_outputs);
            state.of_args = backward(run, of_outputs)?;
        } else if state.of_args.get(self.index).is_none() {
            return Err(ran_already());
        }
        Ok(state.of_args[self.index].take())
    }
}

impl CustomOp2 for Arg {
    fn name(&self) -> &'static str {
        "network"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        token: &CpuStorage,
        _: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        Ok((token.clone(), Shape::from(1)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        token: &CudaStorage,
        _: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        Ok((token.try_clone(&Layout::contiguous(1))?, Shape::from(1)))
    }

    fn bwd(
        &self,
        _arg: &Tensor,
        token: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let of_arg = self.grad()?;
        Ok((of_arg, token.track_op().then(|| grad.clone())))
    }
}

/// From the token to an output.
struct Output {
    index: usize,
    dims: Vec<usize>,
    state: Shared,
}

impl Output {
    fn values(&self) -> Result<Values> {
        let values = self.state.lock().outputs[self.index].take();
        values.ok_or_else(|| Error::config("forward", "an output is taken once"))
    }
}

impl CustomOp1 for Output {
    fn name(&self) -> &'static str {
        "output"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let values = self.values()?.host()?.into_vec();
        Ok((CpuStorage::F32(values), Shape::from_dims(&self.dims)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        let storage = crate::cuda::storage_copy(self.values()?.gpu()?)?;
        Ok((storage, Shape::from_dims(&self.dims)))
    }

    fn bwd(&self, token: &Tensor, _res: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let grad = Values::copy_of(grad)?;
        let mut state = self.state.lock();
        *state.of_outputs.get_mut(self.index).ok_or_else(ran_already)? = Some(grad);
        Ok(Some(token.zeros_like()?))
    }
}

/// The values of a tensor as an activation of a run.
pub(super) fn input(id: usize, x: &Tensor) -> Result<Act> {
    let values = Values::of(&x.detach())?;
    Ok(Act::new(id, x.dims().to_vec(), values.into(), x.track_op()))
}
