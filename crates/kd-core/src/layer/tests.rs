use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};

use super::*;
use crate::ops::{Conv, Pool, avg_pool2d, batch_norm, conv2d, global_avg_pool, max_pool2d, relu};
use crate::testing::{check_grad, random};
use crate::{Mode, Params, Result, Stream, taped};

const EPS: f32 = 1e-5;

fn train() -> Mode {
    Mode::Train(Stream::new(0))
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn close(got: &[f32], want: &[f32], what: &str) {
    let scale = want.iter().fold(1e-3f32, |m, w| m.max(w.abs()));
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-4 * scale, "{what}: {got}, not {want}");
    }
}

/// Layers with random parameters and statistics, and what goes in.
struct Parts {
    x: Tensor,
    residual: Tensor,
    params: Params,
    conv: Conv2d,
    conv_norm: ConvNorm,
}

impl Parts {
    fn new() -> Self {
        let spec = ConvSpec { stride: 2, padding: 1, ..ConvSpec::new(4, 7, 3) };
        let mut params = Params::default();
        let (stream, device) = (Stream::new(3), &Device::Cpu);
        let biased = ConvSpec { bias: true, ..spec };
        let conv = Conv2d::new(&mut params, "plain", biased, stream, device).unwrap();
        let names = ("conv", "bn");
        let conv_norm = ConvNorm::new(&mut params, names, spec, stream, device).unwrap();
        let random_like = |(name, value): (String, Tensor)| {
            let drawn = random(stream.at(&name), value.dims());
            let positive = name.ends_with("var");
            (name, if positive { (drawn.abs().unwrap() + 0.5).unwrap() } else { drawn })
        };
        let values: BTreeMap<_, _> = params.tensors().into_iter().map(random_like).collect();
        params.load(&values).unwrap();
        let x = random(Stream::new(1), &[3, 5, 6, 4]);
        let residual = random(Stream::new(2), &[3, 3, 3, 7]);
        Self { x, residual, params, conv, conv_norm }
    }

    fn tensor(&self, name: &str) -> Tensor {
        self.params.tensors()[name].clone()
    }

    fn var(&self, name: &str) -> &Tensor {
        self.params.get(name).unwrap().var().as_tensor()
    }

    fn conv(&self) -> Conv {
        Conv { stride: 2, padding: 1, groups: 1 }
    }

    /// `relu?(batch_norm(conv(x)) + residual?)` from single operations.
    fn unfused(&self, x: &Tensor, residual: Option<&Tensor>, with_relu: bool) -> Tensor {
        let y = conv2d(x, self.var("conv.weight"), None, self.conv()).unwrap();
        let (mut y, _) = batch_norm(&y, self.var("bn.weight"), self.var("bn.bias"), EPS).unwrap();
        if let Some(residual) = residual {
            y = (y + residual).unwrap();
        }
        if with_relu { relu(&y).unwrap() } else { y }
    }
}

#[test]
fn fusing_changes_no_value_and_no_gradient() {
    for (with_residual, with_relu) in [(false, false), (false, true), (true, false), (true, true)] {
        let parts = Parts::new();
        let [x, residual] = [&parts.x, &parts.residual].map(|t| Var::from_tensor(t).unwrap());
        let added = with_residual.then_some(residual.as_tensor());
        let want = parts.unfused(&x, added, with_relu);
        let grads = want.sqr().unwrap().sum_all().unwrap().backward().unwrap();

        let got = parts.conv_norm.forward(&x, added, with_relu, train()).unwrap();
        close(&floats(&got), &floats(&want), "output");
        let sunk = got.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        close(&floats(sunk.get(&x).unwrap()), &floats(grads.get(&x).unwrap()), "x");
        if with_residual {
            let [sunk, want] = [&sunk, &grads].map(|g| floats(g.get(&residual).unwrap()));
            close(&sunk, &want, "residual");
        }
        for name in ["conv.weight", "bn.weight", "bn.bias"] {
            let want = floats(grads.get(parts.var(name)).unwrap());
            let sink = parts.params.get(name).unwrap().grad();
            close(&floats(sink.get().unwrap()), &want, name);
        }
    }
}

#[test]
fn buffers_and_relu_change_where_gradients_go_and_not_what_they_are() {
    let parts = Parts::new();
    let x = Var::from_tensor(&parts.x).unwrap();
    let [weight, bias] = ["plain.weight", "plain.bias"].map(|name| parts.var(name));
    let want = relu(&conv2d(&x, weight, Some(bias), parts.conv()).unwrap()).unwrap();
    let grads = want.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let step = || {
        let y = parts.conv.forward(&x, true, train()).unwrap();
        assert_eq!(floats(&y), floats(&want));
        y.sqr().unwrap().sum_all().unwrap().backward().unwrap()
    };
    assert_eq!(floats(step().get(&x).unwrap()), floats(grads.get(&x).unwrap()));
    let sunk = |name: &str| floats(parts.params.get(name).unwrap().grad().get().unwrap());
    assert_eq!(sunk("plain.weight"), floats(grads.get(weight).unwrap()));
    assert_eq!(sunk("plain.bias"), floats(grads.get(bias).unwrap()));
    step();
    let twice: Vec<f32> = floats(grads.get(weight).unwrap()).iter().map(|g| 2.0 * g).collect();
    assert_eq!(sunk("plain.weight"), twice);
}

#[test]
fn parameters_learn_though_the_input_is_a_constant() {
    let parts = Parts::new();
    let y = parts.conv_norm.forward(&parts.x, None, true, train()).unwrap();
    y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    for name in ["conv.weight", "bn.weight", "bn.bias"] {
        let grad = floats(parts.params.get(name).unwrap().grad().get().unwrap());
        assert!(grad.iter().any(|g| *g != 0.0), "{name}");
    }
}

#[test]
fn evaluation_folds_into_the_convolution() {
    let parts = Parts::new();
    let row = |name: &str| parts.tensor(name);
    let y = conv2d(&parts.x, &row("conv.weight"), None, parts.conv()).unwrap();
    let deviation = (row("bn.running_var") + f64::from(EPS)).unwrap().sqrt().unwrap();
    let normalized = y.broadcast_sub(&row("bn.running_mean")).unwrap();
    let normalized = normalized.broadcast_div(&deviation).unwrap();
    let want = normalized.broadcast_mul(&row("bn.weight")).unwrap();
    let want = want.broadcast_add(&row("bn.bias")).unwrap();
    let want = relu(&(want + &parts.residual).unwrap()).unwrap();
    let residual = Some(&parts.residual);
    let got = parts.conv_norm.forward(&parts.x, residual, true, Mode::Eval).unwrap();
    close(&floats(&got), &floats(&want), "output");
    assert!(!got.track_op(), "nothing to record");
    let got = parts.conv_norm.norm().forward(&y, residual, true, Mode::Eval).unwrap();
    close(&floats(&got), &floats(&want), "output without the convolution");
}

#[test]
fn gradients_in_evaluation_equal_central_differences() {
    let parts = Parts::new();
    let inputs = [parts.x.clone(), parts.residual.clone()];
    let (fused, alone) = (&parts.conv_norm, parts.conv_norm.norm());
    check_grad(&inputs, |t| fused.forward(&t[0], Some(&t[1]), true, Mode::Eval));
    check_grad(&inputs[..1], |t| fused.forward(&t[0], None, false, Mode::Eval));
    check_grad(&inputs[..1], |t| parts.conv.forward(&t[0], true, Mode::Eval));
    check_grad(&inputs[1..], |t| alone.forward(&t[0], Some(&t[0]), true, Mode::Eval));
}

#[test]
fn a_chain_on_one_tape_equals_its_operations_one_by_one() {
    let parts = Parts::new();
    let pool = Pool { kernel: 2, stride: 1, padding: 0 };
    let one_by_one = |x: &Tensor| -> Result<Tensor> {
        let y = parts.conv_norm.forward(x, None, true, train())?;
        let sum = (parts.conv_norm.norm().forward(&y, None, false, train())? + &y)?;
        let pooled = max_pool2d(&sum, pool)?;
        let sampled = avg_pool2d(&pooled, Pool { kernel: 1, stride: 2, padding: 0 })?;
        global_avg_pool(&sampled.pad_with_zeros(3, 1, 1)?.sqr()?)
    };
    let on_a_tape = |x: &Tensor| {
        taped(x, train(), |tape, x| {
            let y = parts.conv_norm.record(tape, x, None, true)?;
            let normalized = parts.conv_norm.norm().record(tape, &y, None, false)?;
            let sum = tape.add(&normalized, &y)?;
            let pooled = tape.max_pool2d(&sum, pool)?;
            let padded = tape.subsample(&pooled, 2, 1)?;
            let squared = tape.tensor_op(&padded, |x| Ok(x.sqr()?))?;
            tape.global_avg_pool(&squared)
        })
    };
    let outcome = |f: &dyn Fn(&Tensor) -> Result<Tensor>| {
        parts.params.clear_grads();
        let x = Var::from_tensor(&parts.x).unwrap();
        let y = f(&x).unwrap();
        let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let of_params = parts.params.iter().filter_map(|(_, p)| p.grad().get().map(floats));
        (floats(&y), floats(grads.get(&x).unwrap()), of_params.collect::<Vec<_>>())
    };
    assert_eq!(outcome(&one_by_one), outcome(&on_a_tape));
}

#[test]
fn a_second_backward_is_refused() {
    let parts = Parts::new();
    let y = parts.conv.forward(&parts.x, true, train()).unwrap().sum_all().unwrap();
    y.backward().unwrap();
    assert!(y.backward().unwrap_err().to_string().contains("once"));
}

#[test]
fn wrong_shapes_are_named() {
    let parts = Parts::new();
    let layer = &parts.conv_norm;
    let error = layer.forward(&parts.x, Some(&parts.x), false, train()).unwrap_err().to_string();
    assert!(error.contains("residual"), "{error}");
    assert!(layer.norm().forward(&parts.x, None, false, train()).is_err());
    let unequal = taped(&parts.x, Mode::Eval, |tape, x| {
        let y = layer.record(tape, x, None, false)?;
        tape.add(x, &y)
    });
    assert!(unequal.is_err());
}
