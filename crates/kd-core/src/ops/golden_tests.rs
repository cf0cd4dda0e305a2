//! Convolution, batch norm and max-pooling against PyTorch (`tests/golden/make_golden_conv.py`).

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use serde_json::Value;

use super::{Conv, Pool, conv2d, max_pool2d, nchw, nhwc};
use crate::{BatchNorm2d, Mode, Params, Stream, golden};

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
        let conv = Conv { stride, padding, groups };
        let y = conv2d(&nhwc(&x).unwrap(), &weight, bias.as_ref().map(Var::as_tensor), conv);
        let y = nchw(&y.unwrap()).unwrap();
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
        let y = max_pool2d(&nhwc(&x).unwrap(), Pool { kernel, stride, padding }).unwrap();
        let y = nchw(&y).unwrap();
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
            "train" => Mode::Train(Stream::new(0)),
            _ => Mode::Eval,
        };
        let (x, residual) = (var(&case["x"]), tensor(&case["residual"]));
        let residual = residual.map(|r| Var::from_tensor(&r).unwrap());
        let mut params = Params::default();
        let layer = BatchNorm2d::new(&mut params, "bn", x.dims()[1], &Device::Cpu).unwrap();
        let fields = ["weight", "bias", "running_mean", "running_var"];
        let values = fields.map(|field| (format!("bn.{field}"), tensor(&case[field]).unwrap()));
        params.load(&BTreeMap::from(values)).unwrap();
        let added = residual.as_ref().map(|r| nhwc(r).unwrap());
        let relu = case["relu"].as_bool().unwrap();
        let y = layer.forward(&nhwc(&x).unwrap(), added.as_ref(), relu, mode).unwrap();
        let y = nchw(&y).unwrap();
        check(case, "y", Some(&y), tolerance);
        let after = params.tensors();
        check(case, "running_mean_after", after.get("bn.running_mean"), tolerance);
        check(case, "running_var_after", after.get("bn.running_var"), tolerance);
        let grads = backward(case, &y);
        check(case, "grad_x", grads.get(&x), tolerance);
        check(case, "grad_residual", residual.as_ref().and_then(|r| grads.get(r)), tolerance);
        if matches!(mode, Mode::Train(_)) {
            let grad = |name| params.get(name).and_then(|p| p.grad().get());
            check(case, "grad_weight", grad("bn.weight"), tolerance);
            check(case, "grad_bias", grad("bn.bias"), tolerance);
        }
    }
}
