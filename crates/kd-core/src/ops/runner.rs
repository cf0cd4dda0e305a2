//! One operation alone, as a graph of one node; for tests.

use candle_core::{Device, Tensor, Var};

use super::Op;
use crate::testing::check_grad;
use crate::{Mode, Stream, apply};

/// Values in the order in which networks compute: `[N, H, W, C]` or `[N, F]`.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    pub(crate) dims: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Data {
    pub(crate) fn new(dims: &[usize], values: &[f32]) -> Self {
        assert_eq!(dims.iter().product::<usize>(), values.len());
        Self { dims: dims.to_vec(), values: values.to_vec() }
    }

    /// Values in `[-scale, scale)`.
    pub(crate) fn random(stream: Stream, dims: &[usize], scale: f32) -> Self {
        let mut rng = stream.rng();
        let values = (0..dims.iter().product()).map(|_| rng.uniform_in(-scale, scale)).collect();
        Self { dims: dims.to_vec(), values }
    }

    /// The shape of one example, channels first.
    fn shape(&self) -> Vec<usize> {
        match self.dims[..] {
            [_, h, w, c] => vec![c, h, w],
            _ => self.dims[1..].to_vec(),
        }
    }

    pub(crate) fn tensor(&self) -> Tensor {
        Tensor::from_slice(&self.values, self.dims.as_slice(), &Device::Cpu).unwrap()
    }

    pub(crate) fn of(tensor: &Tensor) -> Self {
        let values = tensor.flatten_all().unwrap().to_vec1().unwrap();
        Self { dims: tensor.dims().to_vec(), values }
    }
}

/// An operation with its inputs and parameters.
pub(crate) struct Alone {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Data>,
    pub(crate) params: Vec<Data>,
    pub(crate) mode: Mode,
}

/// What it computes.
pub(crate) struct Computed {
    pub(crate) output: Data,
    pub(crate) to_inputs: Vec<Data>,
    /// Only of trained parameters.
    pub(crate) to_params: Vec<Option<Data>>,
}

impl Alone {
    /// With random parameters, for training.
    pub(crate) fn new(op: impl Into<Op>, inputs: Vec<Data>) -> Self {
        let op = op.into();
        let shapes: Vec<_> = inputs.iter().map(Data::shape).collect();
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        let specs = op.as_dyn().params(&shapes).into_iter().enumerate();
        let params = specs
            .map(|(i, spec)| Data::random(Stream::new(7).number(i as u64), &spec.shape, 1.0))
            .collect();
        Self { op, inputs, params, mode: Mode::Train(Stream::new(1)) }
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.inputs.iter().chain(&self.params).map(Data::tensor).collect()
    }

    fn run(&self, tensors: &[Tensor]) -> crate::Result<Tensor> {
        let (inputs, params) = tensors.split_at(self.inputs.len());
        let [inputs, params] = [inputs, params].map(|t| t.iter().collect::<Vec<_>>());
        apply(self.op.clone(), &inputs, &params, self.mode)
    }

    pub(crate) fn output(&self) -> Data {
        Data::of(&self.run(&self.tensors()).unwrap())
    }

    /// Forward and, from `grad`, backward.
    pub(crate) fn compute(&self, grad: &[f32]) -> Computed {
        let vars: Vec<Var> =
            self.tensors().iter().map(|tensor| Var::from_tensor(tensor).unwrap()).collect();
        let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let y = self.run(&tracked).unwrap();
        let weights = Tensor::from_slice(grad, y.dims(), &Device::Cpu).unwrap();
        let grads = (&y * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let of: Vec<_> = vars.iter().map(|var| grads.get(var).map(Data::of)).collect();
        let (to_inputs, to_params) = of.split_at(self.inputs.len());
        let to_inputs = to_inputs.iter().map(|grad| grad.clone().expect("a gradient"));
        Computed {
            output: Data::of(&y),
            to_inputs: to_inputs.collect(),
            to_params: to_params.to_vec(),
        }
    }
}

/// Compares the gradients for inputs and trained parameters with central differences.
pub(crate) fn check_gradients(op: impl Into<Op>, inputs: Vec<Data>) {
    let alone = Alone::new(op, inputs);
    check_grad(&alone.tensors(), |tensors| alone.run(tensors));
}
