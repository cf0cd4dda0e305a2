//! Convolution, batch norm and max-pooling against PyTorch (`tests/golden/make_golden_conv.py`).

use candle_core::{Device, Tensor, Var};
use serde_json::Value;

use super::{Add, BatchNorm, Conv2d, Init, MaxPool, Relu};
use crate::{Mode, Stream, apply, golden};

fn cases(file: &str) -> (Vec<Value>, f64) {
    let golden = golden(file);
    (golden["cases"].as_array().unwrap().clone(), golden["tolerance"]["atol"].as_f64().unwrap())
}

fn tensor(value: &Value) -> Option<Tensor> {
    let numbers = |field: &str| value.get(field)?.as_array().cloned();
    let shape: Vec<usize> =
        numbers("shape")?.iter().map(|n| n.as_u64().unwrap() as usize).collect();
    let values: Vec<f32> = numbers("values")?.iter().map(|x| x.as_f64().unwrap() as f32).collect();
    Some(Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
}

fn var(value: &Value) -> Var {
    Var::from_tensor(&tensor(value).unwrap()).unwrap()
}

fn number(case: &Value, field: &str) -> usize {
    case[field].as_u64().unwrap() as usize
}

/// `got`, which may be nothing, against `case[field]`, which may be null.
fn check(case: &Value, field: &str, got: Option<&Tensor>, tolerance: f64) {
    let Some(want) = tensor(&case[field]) else { return };
    let got = got.unwrap_or_else(|| panic!("{}: no {field}", case["name"]));
    assert_eq!(got.dims(), want.dims(), "{}: {field}", case["name"]);
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (got, want) in flat(got).into_iter().zip(flat(&want)) {
        let (got, want) = (f64::from(got), f64::from(want));
        let close = (got - want).abs() <= tolerance * (1.0 + want.abs());
        assert!(close, "{}: {field}: {got}, not {want}", case["name"]);
    }
}

fn nhwc(x: &Tensor) -> Tensor {
    x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap()
}

fn nchw(x: &Tensor) -> Tensor {
    x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()
}

fn train() -> Mode {
    Mode::Train(Stream::new(0))
}

/// Gradients of `sum(grad_y * y)`, with `y` in PyTorch's order.
fn backward(case: &Value, y: &Tensor) -> candle_core::backprop::GradStore {
    let loss = (y * tensor(&case["grad_y"]).unwrap()).unwrap().sum_all().unwrap();
    loss.backward().unwrap()
}

#[test]
fn convolutions_equal_pytorchs() {
    let (cases, tolerance) = cases("conv2d.json");
    assert_eq!(cases.len(), 16);
    for case in &cases {
        let [stride, padding, groups] = ["stride", "padding", "groups"].map(|f| number(case, f));
        let (x, weight) = (var(&case["x"]), var(&case["weight"]));
        let bias = tensor(&case["bias"]).map(|b| Var::from_tensor(&b).unwrap());
        let [n_out, _, height, width] = weight.dims()[..] else { panic!("{weight:?}") };
        let conv = Conv2d { kernel: [height, width], ..Conv2d::new(n_out, 1) };
        let conv = conv.stride(stride).padding(padding).groups(groups);
        let (op, params) = match &bias {
            Some(bias) => (conv.bias(Init::Zeros), vec![weight.as_tensor(), bias.as_tensor()]),
            None => (conv, vec![weight.as_tensor()]),
        };
        let y = nchw(&apply(op, &[&nhwc(&x)], &params, train()).unwrap());
        check(case, "y", Some(&y), tolerance);
        let grads = backward(case, &y);
        check(case, "grad_x", grads.get(&x), tolerance);
        check(case, "grad_weight", grads.get(&weight), tolerance);
        check(case, "grad_bias", bias.as_ref().and_then(|b| grads.get(b)), tolerance);
    }
}

#[test]
fn max_pooling_equals_pytorchs_at_ties_too() {
    let (cases, tolerance) = cases("max_pool2d.json");
    assert_eq!(cases.len(), 24);
    for case in &cases {
        let [kernel, stride, padding] = ["kernel", "stride", "padding"].map(|f| number(case, f));
        let x = var(&case["x"]);
        let op = MaxPool::new(kernel, stride, padding);
        let y = nchw(&apply(op, &[&nhwc(&x)], &[], Mode::Eval).unwrap());
        check(case, "y", Some(&y), tolerance);
        check(case, "grad_x", backward(case, &y).get(&x), tolerance);
    }
}

#[test]
fn batch_norm_and_its_running_statistics_equal_pytorchs() {
    let (cases, tolerance) = cases("batch_norm.json");
    assert_eq!(cases.len(), 12);
    for case in &cases {
        let mode = match case["mode"].as_str().unwrap() {
            "train" => train(),
            _ => Mode::Eval,
        };
        let (x, residual) = (var(&case["x"]), tensor(&case["residual"]));
        let residual = residual.map(|r| Var::from_tensor(&r).unwrap());
        let fields = ["weight", "bias", "running_mean", "running_var"];
        let params = fields.map(|field| var(&case[field]));
        let params_ref: Vec<&Tensor> = params.iter().map(Var::as_tensor).collect();
        let mut y = apply(BatchNorm::default(), &[&nhwc(&x)], &params_ref, mode).unwrap();
        if let Some(residual) = &residual {
            y = apply(Add {}, &[&y, &nhwc(residual)], &[], mode).unwrap();
        }
        if case["relu"].as_bool().unwrap() {
            y = apply(Relu {}, &[&y], &[], mode).unwrap();
        }
        let y = nchw(&y);
        check(case, "y", Some(&y), tolerance);
        check(case, "running_mean_after", Some(&params[2]), tolerance);
        check(case, "running_var_after", Some(&params[3]), tolerance);
        let grads = backward(case, &y);
        check(case, "grad_x", grads.get(&x), tolerance);
        check(case, "grad_residual", residual.as_ref().and_then(|r| grads.get(r)), tolerance);
        if matches!(mode, Mode::Train(_)) {
            check(case, "grad_weight", grads.get(&params[0]), tolerance);
            check(case, "grad_bias", grads.get(&params[1]), tolerance);
        }
    }
}
