//! Each operation on a GPU against its twin on the CPU, over odd shapes; twice, for the same bits.
//! Where there is no GPU these tests say so and do nothing.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};

use super::*;
use crate::testing::{gpu, random, relative_error};
use crate::{
    Act, BatchNorm2d, Conv2d, ConvInit, ConvNorm, ConvSpec, Linear, Mode, Params, Result, Stream,
    Tape, taped_with,
};

/// Values by name.
type Values = BTreeMap<String, Tensor>;

/// Runs `f` on both devices, twice on the GPU.
fn compare(what: &str, tolerance: f64, f: impl Fn(&Device) -> Values) {
    let Some(device) = gpu() else { return };
    let (want, got, again) = (f(&Device::Cpu), f(&device), f(&device));
    assert_eq!(want.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    for (name, want) in &want {
        let error = relative_error(&got[name], want);
        assert!(error < tolerance, "{what}: {name}: relative error {error:e}");
        assert_eq!(bits(&got[name]), bits(&again[name]), "{what}: {name}: other bits");
    }
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

fn on(device: &Device, name: &str, dims: &[usize]) -> Tensor {
    random(Stream::new(5).at(name), dims).to_device(device).unwrap()
}

/// Output and gradients of `sum(weights * f(x, other))`, and the parameters afterwards.
fn step(
    device: &Device,
    (x, other): (&[usize], Option<&[usize]>),
    mode: Mode,
    params: &Params,
    f: impl FnOnce(&mut Tape, &Act, Option<&Act>) -> Result<Act>,
) -> Values {
    let x = Var::from_tensor(&on(device, "x", x)).unwrap();
    let other = other.map(|dims| Var::from_tensor(&on(device, "other", dims)).unwrap());
    let y = taped_with(&x, other.as_deref(), mode, f).unwrap();
    let loss = (&y * on(device, "weights", y.dims())).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    let mut values = params.tensors();
    values.insert("y".into(), y.detach());
    values.insert("to x".into(), grads.get(&x).unwrap().clone());
    if let Some(other) = &other {
        values.insert("to other".into(), grads.get(other).unwrap().clone());
    }
    for (name, param) in params.iter() {
        if let Some(grad) = param.grad().get() {
            values.insert(format!("to {name}"), grad.copy().unwrap());
        }
    }
    values
}

const TOLERANCE: f64 = 1e-5;

fn modes() -> [Mode; 2] {
    [Mode::Train(Stream::new(7)), Mode::Eval]
}

/// N, H, W, input and output channels, kernel, stride, padding, groups.
const CONVS: [[usize; 9]; 9] = [
    [2, 7, 5, 3, 5, 3, 1, 1, 1],
    [3, 8, 8, 16, 16, 3, 1, 1, 1],
    [2, 9, 7, 8, 12, 3, 2, 1, 1],
    [5, 6, 6, 4, 8, 1, 2, 0, 1],
    [2, 11, 13, 3, 8, 7, 2, 3, 1],
    [2, 6, 5, 8, 8, 3, 1, 1, 4],
    [1, 4, 4, 2, 1, 1, 1, 0, 1],
    [4, 12, 12, 32, 64, 3, 1, 0, 1],
    [2, 5, 5, 512, 256, 3, 1, 1, 1],
];

fn spec([_, _, _, n_in, n_out, kernel, stride, padding, groups]: [usize; 9]) -> ConvSpec {
    let init = ConvInit::KaimingNormalFanOut;
    ConvSpec { n_in, n_out, kernel, stride, padding, groups, bias: false, init }
}

#[test]
fn convolutions_with_batch_norm() {
    for sizes in CONVS {
        for (relu, with_residual, mode) in [
            (true, true, 0),
            (true, false, 0),
            (false, true, 0),
            (true, true, 1),
            (false, false, 1),
        ] {
            let [n, height, width, n_in, n_out, kernel, stride, padding, _] = sizes;
            let side = |size: usize| (size + 2 * padding - kernel) / stride + 1;
            let out = [n, side(height), side(width), n_out];
            let what = format!("conv-norm {sizes:?} {relu} {with_residual} {mode}");
            compare(&what, TOLERANCE, |device| {
                let mut params = Params::default();
                let names = ("conv", "bn");
                let layer =
                    ConvNorm::new(&mut params, names, spec(sizes), Stream::new(1), device).unwrap();
                let residual = with_residual.then_some(&out[..]);
                let dims = [n, height, width, n_in];
                step(device, (&dims, residual), modes()[mode], &params, |tape, x, residual| {
                    layer.record(tape, x, residual, relu)
                })
            });
        }
    }
}

#[test]
fn gradients_of_two_paths_add_up() {
    for sizes in [[2, 7, 5, 6, 6, 3, 1, 1, 1], [2, 8, 8, 64, 64, 3, 1, 1, 1]] {
        for mode in modes() {
            let [n, height, width, n_in, ..] = sizes;
            compare(&format!("two paths {sizes:?}"), TOLERANCE, |device| {
                let mut params = Params::default();
                let names = ("conv", "bn");
                let layer =
                    ConvNorm::new(&mut params, names, spec(sizes), Stream::new(1), device).unwrap();
                let dims = [n, height, width, n_in];
                step(device, (&dims, None), mode, &params, |tape, x, _| {
                    layer.record(tape, x, Some(x), true)
                })
            });
        }
    }
}

#[test]
fn convolutions_with_bias() {
    for sizes in CONVS {
        for (relu, bias, mode) in
            [(true, true, 0), (false, true, 0), (true, false, 0), (true, true, 1)]
        {
            let [n, height, width, n_in, ..] = sizes;
            compare(&format!("conv {sizes:?} {relu} {bias} {mode}"), TOLERANCE, |device| {
                let (mut params, spec) = (Params::default(), ConvSpec { bias, ..spec(sizes) });
                let layer = Conv2d::new(&mut params, "conv", spec, Stream::new(1), device).unwrap();
                let dims = [n, height, width, n_in];
                step(device, (&dims, None), modes()[mode], &params, |tape, x, _| {
                    layer.record(tape, x, relu)
                })
            });
        }
    }
}

#[test]
fn batch_norms() {
    for dims in [[3, 5, 7, 6], [2, 9, 9, 64], [1, 3, 2, 1], [4, 3, 3, 1030], [2, 30, 31, 8]] {
        for (relu, residual, mode) in [(true, true, 0), (false, false, 0), (true, true, 1)] {
            compare(&format!("norm {dims:?} {relu} {residual} {mode}"), TOLERANCE, |device| {
                let mut params = Params::default();
                let layer = BatchNorm2d::new(&mut params, "bn", dims[3], device).unwrap();
                let residual = residual.then_some(&dims[..]);
                step(device, (&dims, residual), modes()[mode], &params, |tape, x, residual| {
                    layer.record(tape, x, residual, relu)
                })
            });
        }
    }
}

#[test]
fn linear_layers() {
    let dropout = Activation::ReluDropout { p: 0.4, stream: Stream::new(3) };
    for (n, n_in, n_out) in [(1, 1, 1), (3, 5, 2), (17, 9, 33), (128, 784, 300), (130, 64, 1200)] {
        for activation in [Activation::Identity, Activation::Relu, dropout] {
            for mode in modes() {
                let what = format!("linear {n} {n_in} {n_out} {activation:?}");
                compare(&what, TOLERANCE, |device| {
                    let (mut params, sizes) = (Params::default(), (n_in, n_out));
                    let layer =
                        Linear::new(&mut params, "fc", sizes, Stream::new(1), device).unwrap();
                    step(device, (&[n, n_in], None), mode, &params, |tape, x, _| {
                        layer.record(tape, x, activation)
                    })
                });
            }
        }
    }
}

#[test]
fn pooling_sums_and_layouts() {
    let none = Params::default();
    let run = |what: &str, dims: &[usize], f: &dyn Fn(&mut Tape, &Act) -> Result<Act>| {
        compare(&format!("{what} {dims:?}"), TOLERANCE, |device| {
            step(device, (dims, None), Mode::Eval, &none, |tape, x, _| f(tape, x))
        });
    };
    for dims in [[2, 7, 9, 3], [3, 8, 8, 16], [1, 3, 3, 1], [2, 112, 111, 5]] {
        for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (1, 2, 0)] {
            let pool = Pool { kernel, stride, padding };
            run(&format!("{pool:?}"), &dims, &|tape, x| tape.max_pool2d(x, pool));
        }
        run("global mean", &dims, &|tape, x| tape.global_avg_pool(x));
        run("subsample", &dims, &|tape, x| tape.subsample(x, 2, 3));
        run("flatten", &dims, &|tape, x| tape.flatten(x));
        run("twice", &dims, &|tape, x| tape.add(x, x));
        run("tensor-op", &dims, &|tape, x| tape.tensor_op(x, |x| Ok(x.sqr()?)));
    }
}

/// Value and gradient of an operation in candle's graph.
fn in_graph(device: &Device, dims: &[usize], f: impl Fn(&Tensor) -> Result<Tensor>) -> Values {
    let x = Var::from_tensor(&on(device, "x", dims)).unwrap();
    let y = f(&x).unwrap();
    let loss = (&y * on(device, "weights", y.dims())).unwrap().sum_all().unwrap();
    let to_x = loss.backward().unwrap().get(&x).unwrap().clone();
    [("y".to_owned(), y.detach()), ("to x".to_owned(), to_x)].into()
}

#[test]
fn operations_in_candles_graph() {
    for dims in [[2, 3, 5, 7], [4, 1, 28, 28], [1, 3, 130, 129]] {
        compare("nhwc", TOLERANCE, |device| in_graph(device, &dims, nhwc));
        compare("nchw", TOLERANCE, |device| in_graph(device, &dims, nchw));
        let dropped = |x: &Tensor| dropout(x, 0.3, Stream::new(8));
        compare("dropout", TOLERANCE, |device| in_graph(device, &dims, dropped));
    }
}

#[test]
fn objectives() {
    for (n, n_classes) in [(1, 2), (7, 10), (128, 10), (33, 1000)] {
        let dims = [n, n_classes];
        let labels = |x: &Tensor| {
            let labels: Vec<u32> = (0..n as u32).map(|i| i * 7 % n_classes as u32).collect();
            Tensor::new(labels, x.device()).unwrap()
        };
        compare("smoothed", TOLERANCE, |device| {
            in_graph(device, &dims, |x| cross_entropy(x, &labels(x), 0.1))
        });
        compare("at 20", TOLERANCE, |device| {
            in_graph(device, &dims, |x| cross_entropy_at(x, &labels(x), 20.0))
        });
        for (alpha, temperature) in [(0.0, 1.0), (0.5, 5.0), (1.0, 0.1)] {
            compare(&format!("distillation {dims:?} {alpha} {temperature}"), TOLERANCE, |device| {
                in_graph(device, &dims, |x| {
                    let teacher_logits = &on(device, "teacher", &dims);
                    let reduction = Reduction::BatchMean;
                    let soft = SoftTargets { teacher_logits, temperature, alpha, reduction };
                    distillation(x, Some(&labels(x)), &soft)
                })
            });
        }
    }
}

#[test]
fn extreme_logits_stay_finite_and_a_label_that_is_no_class_is_seen() {
    let Some(device) = gpu() else { return };
    let logits = Tensor::new(&[[1e4f32, -1e4, 0.0], [0.0, 1e4, -1e4]], &device).unwrap();
    let labels = |labels: [u32; 2]| Tensor::new(&labels, &device).unwrap();
    let loss = |labels| cross_entropy(&logits, &labels, 0.0).unwrap().to_scalar::<f32>().unwrap();
    assert_eq!((loss(labels([0, 1])), loss(labels([1, 1]))), (0.0, 1e4));
    assert!(loss(labels([0, 3])).is_nan());
}

#[test]
fn counts_are_those_of_the_rows() {
    let Some(device) = gpu() else { return };
    let row = [6.0f32, 5.0, 4.0, 3.0, 2.0, 1.0];
    let logits = Tensor::new(&[row, row, row, [1.0; 6]], &device).unwrap();
    let labels = Tensor::new(&[0u32, 4, 5, 1], &device).unwrap();
    let (count, loss) = (Count::new(&device).unwrap(), Tensor::new(2.5f32, &device).unwrap());
    for _ in 0..2 {
        count.add(&loss, &logits, &labels).unwrap();
    }
    assert_eq!(count.read().unwrap(), Counted { loss: 5.0, top1: 2.0, top5: 6.0 });
}

/// Three steps of a linear layer on both devices, and the state afterwards.
fn optimized(device: &Device, is_adam: bool) -> Values {
    let (adam, sgd) = (
        // With a small eps the first step is the gradient's sign, rounding and all.
        Adam { weight_decay: 1e-2, eps: 1e-2, ..Adam::default() },
        Sgd { momentum: 0.9, nesterov: true, weight_decay: 1e-2 },
    );
    let mut params = Params::default();
    let layer = Linear::new(&mut params, "fc", (67, 129), Stream::new(1), device).unwrap();
    let mut moments = if is_adam { Moments::adam(&params) } else { Moments::sgd(&params) };
    let n = |name: &str| params.get(name).unwrap().var().elem_count();
    let names = ["fc.bias", "fc.weight"];
    let mut adams = names.map(|name| AdamState::new(n(name)));
    let mut sgds = names.map(|name| SgdState::new(n(name)));
    for i in 1..=3 {
        let x = on(device, &i.to_string(), &[5, 67]);
        let y = layer.forward(&x, Activation::Identity, modes()[0]).unwrap();
        y.sqr().unwrap().mean_all().unwrap().backward().unwrap();
        match (device.is_cpu(), is_adam) {
            (false, true) => moments.adam_step(&adam, 0.1, i, &params).unwrap(),
            (false, false) => moments.sgd_step(&sgd, 0.1, i, &params).unwrap(),
            (true, _) => {
                for (k, name) in names.into_iter().enumerate() {
                    let param = params.get(name).unwrap();
                    let (var, grad) = (param.var(), param.grad().get().unwrap());
                    match is_adam {
                        true => adams[k].step(&adam, 0.1, i, var, grad).unwrap(),
                        false => sgds[k].step(&sgd, 0.1, i, var, grad).unwrap(),
                    }
                }
            }
        }
        params.clear_grads();
    }
    params.tensors().into_iter().map(|(name, t)| (name, t.copy().unwrap())).collect()
}

#[test]
fn optimizers() {
    for is_adam in [true, false] {
        compare("optimizer", TOLERANCE, |device| optimized(device, is_adam));
    }
}

#[test]
fn the_state_of_an_optimizer_comes_back() {
    let Some(device) = gpu() else { return };
    let mut params = Params::default();
    let layer = Linear::new(&mut params, "fc", (3, 2), Stream::new(1), &device).unwrap();
    let y = layer.forward(&on(&device, "x", &[4, 3]), Activation::Identity, modes()[0]).unwrap();
    y.sum_all().unwrap().backward().unwrap();
    let mut moments = Moments::sgd(&params);
    moments.sgd_step(&Sgd::default(), 0.1, 1, &params).unwrap();
    let saved = moments.tensors().unwrap();
    let mut loaded = Moments::sgd(&params);
    loaded.load(&saved).unwrap();
    for (name, tensor) in loaded.tensors().unwrap() {
        assert_eq!(bits(&tensor), bits(&saved[&name]), "{name}");
    }
    assert_eq!(saved.keys().collect::<Vec<_>>(), ["fc.bias/velocity", "fc.weight/velocity"]);
}

#[test]
fn tensor_cores_are_near() {
    use crate::device::{Precision, can_use_gpu, open};
    if !can_use_gpu() {
        return;
    }
    let device = open("cuda", Precision::Tf32).unwrap();
    let run = |device: &Device| {
        let mut params = Params::default();
        let sizes = [8, 16, 16, 64, 64, 3, 1, 1, 1];
        let layer = ConvNorm::new(&mut params, ("conv", "bn"), spec(sizes), Stream::new(1), device)
            .unwrap();
        step(device, (&[8, 16, 16, 64], None), modes()[0], &params, |tape, x, _| {
            layer.record(tape, x, None, false)
        })
    };
    let (want, got) = (run(&Device::Cpu), run(&device));
    for (name, want) in &want {
        let error = relative_error(&got[name], want);
        assert!(error < 2e-3, "{name}: relative error {error:e}");
        println!("tf32: {name}: relative error {error:e}");
    }
}
