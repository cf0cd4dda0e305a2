//! One operation alone, forward and backward; for tests.

use candle_core::{Device, Tensor};

use super::operation::Operation;
use super::step::{Backward, Forward, Weight};
use crate::act::{Act, Buffer, Grads};
use crate::{Mode, Param, Stream};

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
    pub(crate) fn shape(&self) -> Vec<usize> {
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
pub(crate) struct Alone<'a> {
    pub(crate) op: &'a dyn Operation,
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

impl<'a> Alone<'a> {
    /// With random parameters, for training.
    pub(crate) fn new(op: &'a dyn Operation, inputs: Vec<Data>) -> Self {
        let shapes: Vec<_> = inputs.iter().map(Data::shape).collect();
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        let specs = op.params(&shapes).into_iter().enumerate();
        let params = specs
            .map(|(i, spec)| Data::random(Stream::new(7).number(i as u64), &spec.shape, 1.0))
            .collect();
        Self { op, inputs, params, mode: Mode::Train(Stream::new(1)) }
    }

    fn output_dims(&self) -> Vec<usize> {
        let shapes: Vec<_> = self.inputs.iter().map(Data::shape).collect();
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        let n = self.inputs[0].dims[0];
        match self.op.shape(&shapes).unwrap()[..] {
            [c, h, w] => vec![n, h, w, c],
            ref vector => [&[n], vector].concat(),
        }
    }

    fn acts(&self) -> Vec<Act> {
        let act = |(id, data): (usize, &Data)| {
            let values = Buffer::copy_of(&data.values);
            Act::new(id, data.dims.clone(), values.into(), true)
        };
        self.inputs.iter().enumerate().map(act).collect()
    }

    fn weights(&self) -> Vec<Weight> {
        let weight = |data: &Data| {
            let param = Param::new(&data.tensor()).unwrap();
            Weight { value: param.constant(), grad: Some(param.grad().clone()) }
        };
        self.params.iter().map(weight).collect()
    }

    pub(crate) fn output(&self) -> Data {
        let (acts, weights) = (self.acts(), self.weights());
        let inputs: Vec<&Act> = acts.iter().collect();
        let mut step = Forward { inputs: &inputs, weights: &weights, mode: self.mode, saved: None };
        let values = self.op.forward(&mut step).unwrap().into_values().host().unwrap();
        Data::new(&self.output_dims(), &values)
    }

    /// Forward and, from `grad`, backward, which finds only what the operation says it reads.
    pub(crate) fn compute(&self, grad: &[f32]) -> Computed {
        let (mut acts, weights) = (self.acts(), self.weights());
        let inputs: Vec<&Act> = acts.iter().collect();
        let (weights, mode) = (&weights[..], self.mode);
        let mut step = Forward { inputs: &inputs, weights, mode, saved: None };
        let made = self.op.forward(&mut step).unwrap();
        let saved = step.saved;
        let (clamp, values) = (made.clamp(), made.get().to_vec());
        let mut output_act = Act::new(acts.len(), self.output_dims(), made, true);
        let mut buffer = Buffer::copy_of(grad);
        clamp.mask(&mut buffer, &values);

        let reads = self.op.reads();
        if !reads.inputs {
            acts.iter_mut().for_each(Act::release);
        }
        if !reads.output {
            output_act.release();
        }
        let (inputs, mut grads) = (acts.iter().collect::<Vec<_>>(), Grads::default());
        let output = &output_act;
        let mut step =
            Backward { inputs: &inputs, output, weights, mode, saved, grads: &mut grads };
        self.op.backward(buffer, &mut step).unwrap();

        let to_input = |act: &Act| {
            let grad = grads.take(act).expect("a gradient for each input");
            Data::new(act.dims(), &grad.values.host().unwrap())
        };
        let to_inputs = acts.iter().map(to_input).collect();
        let to_param = |weight: &Weight| weight.grad.as_ref()?.get().map(Data::of);
        let to_params = weights.iter().map(to_param).collect();
        Computed { output: Data::new(output_act.dims(), &values), to_inputs, to_params }
    }
}

/// Compares the gradients of `sum(grad * output)`, with random `grad`, with central differences, for
/// inputs and trained parameters.
pub(crate) fn check_gradients(op: &dyn Operation, inputs: Vec<Data>) {
    let alone = Alone::new(op, inputs);
    let len = alone.output_dims().iter().product();
    let grad = Data::random(Stream::new(99), &[len], 1.0).values;
    let computed = alone.compute(&grad);
    assert_eq!(bits(&computed.output.values), bits(&alone.output().values), "forward");
    for (i, got) in computed.to_inputs.iter().enumerate() {
        compare(&format!("input {i}"), &alone, &grad, got, |alone| &mut alone.inputs[i].values);
    }
    for (i, got) in computed.to_params.iter().enumerate() {
        let Some(got) = got else { continue };
        compare(&format!("parameter {i}"), &alone, &grad, got, |a| &mut a.params[i].values);
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn compare(
    what: &str,
    alone: &Alone<'_>,
    grad: &[f32],
    got: &Data,
    values: impl for<'b, 'c> Fn(&'b mut Alone<'c>) -> &'b mut Vec<f32>,
) {
    let sum_at = |k: usize, moved_by: f32| {
        let (op, mode) = (alone.op, alone.mode);
        let (inputs, params) = (alone.inputs.clone(), alone.params.clone());
        let mut moved = Alone { op, inputs, params, mode };
        values(&mut moved)[k] += moved_by;
        let output = moved.output().values;
        output.iter().zip(grad).map(|(y, g)| f64::from(*y) * f64::from(*g)).sum::<f64>()
    };
    let slope = |k, by: f32| (sum_at(k, by) - sum_at(k, -by)) / (2.0 * f64::from(by));
    let scale = got.values.iter().fold(1e-3, |m: f64, g| m.max(f64::from(g.abs())));
    let n = got.values.len();
    for k in (0..n).step_by(n.div_ceil(60)) {
        // Piecewise linear functions have kinks: the smaller of two steps decides near one.
        let (wide, narrow) = (slope(k, 1e-2), slope(k, 1e-3));
        let want = if (wide - narrow).abs() < 1e-2 { wide } else { narrow };
        let got = f64::from(got.values[k]);
        let close = (got - want).abs() <= 1e-2 * scale;
        assert!(close, "{what}, element {k}: backward {got}, central difference {want}");
    }
}
