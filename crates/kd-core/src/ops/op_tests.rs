//! Every operation alone: gradients against central differences, values by hand, and values and
//! gradients against PyTorch (`tests/golden/make_golden_ops.py`).

use candle_core::{Device, Tensor};
use serde_json::Value;

use super::runner::{Alone, Data, check_gradients};
use super::*;
use crate::{Mode, Stream, golden};

/// Maps of features, of odd sizes and of more channels than a vector has lanes.
const MAPS: [[usize; 4]; 4] = [[1, 1, 1, 1], [2, 7, 5, 3], [1, 4, 3, 37], [3, 2, 2, 8]];

fn random(number: u64, dims: &[usize]) -> Data {
    Data::random(Stream::new(number), dims, 3.0)
}

/// Checks the gradients of `op` for maps, and for vectors.
fn check_everywhere(op: impl Into<Op>) {
    let op = op.into();
    for (i, dims) in MAPS.iter().enumerate() {
        check_gradients(op.clone(), vec![random(i as u64, dims)]);
    }
    check_gradients(op.clone(), vec![random(9, &[3, 45])]);
}

fn output(op: impl Into<Op>, inputs: &[(&[usize], &[f32])]) -> Vec<f32> {
    let inputs = inputs.iter().map(|(dims, values)| Data::new(dims, values)).collect();
    Alone::new(op, inputs).output().values
}

fn activations() -> Vec<Op> {
    vec![
        LeakyRelu { slope: 0.1 }.into(),
        HardSigmoid::default().into(),
        HardSigmoid { slope: 0.2, shift: 0.4 }.into(),
        HardSwish {}.into(),
        Sigmoid {}.into(),
        Silu {}.into(),
        Gelu {}.into(),
    ]
}

/// The conformance test: whatever the registry has computes the shape that it says, and gradients
/// that equal central differences.
#[test]
fn every_operation_has_its_shape_and_its_gradients() {
    for op in Op::all() {
        let n_inputs = op.as_dyn().n_inputs().0;
        let fits = |shape: &&&[usize]| op.as_dyn().shape(&vec![**shape; n_inputs]).is_ok();
        let shapes: [&[usize]; 3] = [&[4, 5, 7], &[1, 5, 7], &[9]];
        let shape = *shapes.iter().find(fits).unwrap_or_else(|| panic!("nothing fits {op:?}"));
        let dims = |shape: &[usize]| match *shape {
            [c, h, w] => vec![3, h, w, c],
            _ => [&[3], shape].concat(),
        };
        let input = |i: usize| random(40 + i as u64, &dims(shape));
        let inputs: Vec<Data> = (0..n_inputs).map(input).collect();
        let out = op.as_dyn().shape(&vec![shape; n_inputs]).unwrap();
        let got = Alone::new(op.clone(), inputs.clone()).output();
        assert_eq!(got.dims, dims(&out), "{op:?}");
        // Its own slope is 0 almost everywhere, and not what it passes on.
        if !matches!(op, Op::Quantize(_)) {
            check_gradients(op, inputs);
        }
    }
}

#[test]
fn gradients_of_activations() {
    activations().into_iter().for_each(check_everywhere);
}

#[test]
#[expect(clippy::float_cmp, reason = "each is exact")]
fn activations_at_their_ends_by_hand() {
    let at = |op: Op, x: f32| output(op, &[(&[1, 1], &[x])])[0];
    for op in activations() {
        assert!(at(op.clone(), f32::NAN).is_nan(), "{op:?} hides what is not a number");
    }
    assert_eq!(at(LeakyRelu { slope: 0.1 }.into(), -2.0), -0.2);
    assert_eq!(
        [-4.0, -3.0, 0.0, 3.0, 4.0].map(|x| at(HardSigmoid::default().into(), x)),
        [0.0, 0.0, 0.5, 1.0, 1.0]
    );
    assert_eq!(
        [-4.0, -3.0, 0.0, 3.0, 4.0].map(|x| at(HardSwish {}.into(), x)),
        [0.0, 0.0, 0.0, 3.0, 4.0]
    );
    assert_eq!([-200.0, 0.0, 200.0].map(|x| at(Sigmoid {}.into(), x)), [0.0, 0.5, 1.0]);
    assert_eq!([-200.0, 0.0, 200.0].map(|x| at(Silu {}.into(), x)), [0.0, 0.0, 200.0]);
    assert_eq!([-200.0, 0.0, 200.0].map(|x| at(Gelu {}.into(), x)), [0.0, 0.0, 200.0]);
}

#[test]
fn levels_and_what_passes_them_by_hand() {
    let op = Quantize { scale: 0.5, zero_point: 2 };
    // -1 and 126.5 are the ends; ties go to even levels.
    let x = [-9.0, -1.2, -1.0, -0.25, 0.0, 0.24, 0.25, 0.75, 126.5, 126.6];
    let y = [-1.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 126.5, 126.5];
    let alone = Alone::new(op, vec![Data::new(&[1, 10], &x)]);
    let computed = alone.compute(&[2.0; 10]);
    assert_eq!(computed.output.values, y);
    assert_eq!(computed.to_inputs[0].values, [0., 0., 2., 2., 2., 2., 2., 2., 2., 0.]);
    assert!(output(op, &[(&[1, 1], &[f32::NAN])])[0].is_nan());
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(Quantize { scale, zero_point: 0 }.shape(&[&[3]]).is_err());
    }
}

#[test]
fn a_map_in_place_is_the_forward() {
    let x = random(1, &[2, 7, 5, 3]);
    for op in activations() {
        let mut values = x.values.clone();
        assert!(op.as_dyn().map(&mut values), "{op:?}");
        assert_eq!(values, Alone::new(op.clone(), vec![x.clone()]).output().values, "{op:?}");
    }
    let mut values = x.values.clone();
    assert!(!Flatten {}.map(&mut values) && values == x.values);
}

#[test]
fn gradients_of_products() {
    for (i, dims) in MAPS.iter().enumerate() {
        let [n, _, _, c] = *dims;
        let x = random(i as u64, dims);
        for y in [&dims[..], &[n, 1, 1, c], &[n, c]] {
            check_gradients(Mul {}, vec![x.clone(), random(20, y)]);
        }
    }
    check_gradients(Mul {}, vec![random(1, &[3, 45]), random(2, &[3, 45])]);
}

#[test]
fn products_by_hand() {
    let x: (&[usize], &[f32]) = (&[2, 1, 2, 2], &[1., 2., 3., 4., 5., 6., 7., 8.]);
    let y: (&[usize], &[f32]) = (&[2, 2], &[10., 100., 1000., 0.]);
    assert_eq!(output(Mul {}, &[x, y]), [10., 200., 30., 400., 5000., 0., 7000., 0.]);
    assert_eq!(output(Mul {}, &[x, x]), [1., 4., 9., 16., 25., 36., 49., 64.]);
}

#[test]
fn gradients_of_moved_channels() {
    for (i, dims) in MAPS.iter().enumerate() {
        let (i, [n, h, w, c]) = (i as u64, *dims);
        let others = [random(i + 10, &[n, h, w, 2]), random(i + 20, &[n, h, w, 33])];
        check_gradients(Concat {}, [&[random(i, dims)][..], &others].concat());
        let (first, count) = (c / 3, c - c / 2);
        check_gradients(SliceChannels { first, count }, vec![random(i, dims)]);
        check_gradients(SubsamplePad { stride: 2, n_zeros: 3 }, vec![random(i, dims)]);
        check_gradients(Flatten {}, vec![random(i, dims)]);
    }
    check_gradients(Concat {}, vec![random(1, &[3, 4]), random(2, &[3, 41])]);
    check_gradients(SliceChannels { first: 2, count: 30 }, vec![random(1, &[3, 45])]);
    check_gradients(SubsamplePad { stride: 1, n_zeros: 0 }, vec![random(1, &[2, 3, 4, 5])]);
    check_gradients(SubsamplePad { stride: 3, n_zeros: 1 }, vec![random(1, &[2, 7, 5, 2])]);
    check_gradients(Flatten {}, vec![random(1, &[3, 45])]);
    for groups in [1, 2, 3, 4, 6, 12] {
        check_gradients(ChannelShuffle { groups }, vec![random(1, &[2, 3, 5, 12])]);
    }
}

#[test]
fn moved_channels_by_hand() {
    let x: (&[usize], &[f32]) = (&[1, 1, 2, 1], &[1., 2.]);
    let y: (&[usize], &[f32]) = (&[1, 1, 2, 2], &[3., 4., 5., 6.]);
    assert_eq!(output(Concat {}, &[x, y]), [1., 3., 4., 2., 5., 6.]);
    assert_eq!(output(SliceChannels { first: 1, count: 1 }, &[y]), [4., 6.]);
    assert_eq!(output(Flatten {}, &[y]), [3., 5., 4., 6.]);
    let six: (&[usize], &[f32]) = (&[1, 1, 1, 6], &[0., 1., 2., 3., 4., 5.]);
    assert_eq!(output(ChannelShuffle { groups: 2 }, &[six]), [0., 3., 1., 4., 2., 5.]);
    assert_eq!(output(ChannelShuffle { groups: 3 }, &[six]), [0., 2., 4., 1., 3., 5.]);
    let image: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let padded = output(SubsamplePad { stride: 2, n_zeros: 1 }, &[(&[1, 3, 2, 2], &image)]);
    assert_eq!(padded, [0., 0., 1., 0., 0., 8., 9., 0.]);
}

/// Matrices larger than a tile, and more of them than fit a task.
#[test]
fn flattening_equals_candles_permutation() {
    for dims in [[2, 19, 21, 37], [300, 3, 11, 70]] {
        let x = random(1, &dims);
        let want = x.tensor().permute((0, 3, 1, 2)).unwrap().flatten_from(1).unwrap();
        let got = Alone::new(Flatten {}, vec![x]).output();
        assert_eq!(got.dims, want.dims());
        assert!(got.values == Data::of(&want).values);
    }
}

#[test]
fn gradients_of_normalizations() {
    check_everywhere(LayerNorm { eps: 0.1 });
    for temperature in [0.5, 1.0, 4.0] {
        let softmax = Softmax { temperature };
        for dims in [[1, 1], [3, 7], [2, 100]] {
            check_gradients(softmax, vec![random(1, &dims)]);
        }
    }
    let normalize = Normalize { mean: vec![0.5, 0.1, -0.3], std: vec![0.2, 2.0, 1.0] };
    check_gradients(normalize, vec![random(1, &[2, 7, 5, 3])]);
}

#[test]
fn normalizations_by_hand() {
    let normalize = Normalize { mean: vec![0.0, 0.5], std: vec![1.0, 0.25] };
    let pixels: (&[usize], &[f32]) = (&[1, 1, 2, 2], &[0., 0., 1., 1.]);
    assert_eq!(output(normalize, &[pixels]), [0., -2., 1., 2.]);
    let ln3 = 3f32.ln();
    let softmax = output(Softmax::default(), &[(&[1, 2], &[0.0, ln3])]);
    assert!((softmax[0] - 0.25).abs() < 1e-6 && (softmax[1] - 0.75).abs() < 1e-6);
    let far = output(Softmax { temperature: 0.01 }, &[(&[1, 3], &[-1e4, 1e4, 1e4])]);
    assert_eq!(far, [0.0, 0.5, 0.5]);
    assert!(output(Softmax::default(), &[(&[1, 2], &[0.0, f32::NAN])])[0].is_nan());
    let norm = LayerNorm { eps: 0.0 };
    let inputs = vec![Data::new(&[1, 1, 1, 2], &[3.0, 7.0])];
    let params = vec![Data::new(&[2], &[2.0, 3.0]), Data::new(&[2], &[10.0, 20.0])];
    let mode = Mode::Eval;
    assert_eq!(Alone { op: norm.into(), inputs, params, mode }.output().values, [8.0, 23.0]);
}

fn pools() -> Vec<Op> {
    let windows: [([usize; 2], [usize; 2], [usize; 4]); 8] = [
        ([1, 1], [1, 1], [0; 4]),
        ([2, 2], [2, 2], [0; 4]),
        ([3, 3], [2, 2], [1; 4]),
        ([2, 2], [1, 1], [0; 4]),
        ([3, 3], [3, 3], [1; 4]),
        ([3, 3], [1, 1], [1; 4]),
        ([2, 3], [2, 1], [1, 0, 0, 2]),
        ([3, 2], [1, 2], [0, 1, 2, 1]),
    ];
    let pools = windows.into_iter().flat_map(|(kernel, stride, padding)| {
        let mean = |count_padding| AvgPool { kernel, stride, padding, count_padding }.into();
        [MaxPool { kernel, stride, padding }.into(), mean(true), mean(false)]
    });
    pools.chain([GlobalAvgPool {}.into()]).collect()
}

/// No two values so close that a small step makes the other one the largest.
fn distinct(dims: &[usize]) -> Data {
    let n = dims.iter().product::<usize>() as u32;
    let values: Vec<f32> = Stream::new(1).permutation(n).iter().map(|i| *i as f32 * 0.1).collect();
    Data::new(dims, &values)
}

#[test]
fn gradients_of_pooling() {
    for op in pools() {
        for dims in [[2, 7, 5, 3], [1, 4, 3, 37], [3, 2, 2, 8]] {
            check_gradients(op.clone(), vec![distinct(&dims)]);
        }
    }
}

#[test]
fn pooling_by_hand() {
    let image: Vec<f32> = (1..10).map(|i| i as f32).collect();
    let pooled = |op: Op| output(op, &[(&[1, 3, 3, 1], &image)]);
    assert_eq!(pooled(MaxPool::new(2, 1, 0).into()), [5., 6., 8., 9.]);
    assert_eq!(pooled(MaxPool::new(3, 2, 1).into()), [5., 6., 8., 9.]);
    assert_eq!(pooled(MaxPool::new(2, 2, 0).into()), [5.]);
    assert_eq!(pooled(AvgPool::new(2, 1).into()), [3., 4., 6., 7.]);
    assert_eq!(pooled(GlobalAvgPool {}.into()), [5.]);
    // The corner's window has 1, 2, 4, 5 and five pixels of the padding.
    let padded = AvgPool { padding: [1; 4], ..AvgPool::new(3, 2) };
    assert_eq!(pooled(padded.into())[..1], [12. / 9.]);
    let inner = AvgPool { count_padding: false, ..padded };
    assert_eq!(pooled(inner.into()), [3., 4., 6., 7.]);
}

#[test]
fn the_first_of_equal_maxima_takes_the_gradient() {
    let x = Data::new(&[1, 2, 3, 1], &[1., 7., 7., 7., 0., 7.]);
    let computed = Alone::new(MaxPool::new(2, 1, 0), vec![x]).compute(&[1.0, 1.0]);
    // Windows (1, 7, 7, 0) and (7, 7, 0, 7): both choose the upper middle.
    assert_eq!(computed.to_inputs[0].values, [0., 2., 0., 0., 0., 0.]);
}

#[test]
fn padding_never_wins_and_nan_is_not_hidden() {
    let pool = MaxPool::new(3, 1, 1);
    assert_eq!(output(pool, &[(&[1, 1, 2, 1], &[-3.0, f32::NEG_INFINITY])]), [-3.0, -3.0]);
    let y = output(pool, &[(&[1, 1, 3, 1], &[1.0, f32::NAN, 2.0])]);
    assert!(y.iter().all(|v| v.is_nan()));
}

#[test]
fn impossible_settings_are_refused() {
    let refused = |op: Op, shapes: &[&[usize]]| assert!(op.as_dyn().shape(shapes).is_err());
    for (kernel, stride, padding) in [(0, 1, 0), (2, 0, 0), (2, 2, 2), (5, 1, 0), (17, 1, 8)] {
        refused(MaxPool::new(kernel, stride, padding).into(), &[&[1, 4, 4]]);
        let padding = [padding; 4];
        refused(AvgPool { padding, ..AvgPool::new(kernel, stride) }.into(), &[&[1, 4, 4]]);
    }
    refused(MaxPool::new(1, 1, 0).into(), &[&[16]]);
    refused(GlobalAvgPool {}.into(), &[&[16]]);
    refused(ChannelShuffle { groups: 3 }.into(), &[&[4, 2, 2]]);
    refused(ChannelShuffle { groups: 0 }.into(), &[&[4, 2, 2]]);
    refused(SliceChannels { first: 3, count: 2 }.into(), &[&[4, 2, 2]]);
    refused(SliceChannels { first: 0, count: 0 }.into(), &[&[4, 2, 2]]);
    refused(SliceChannels { first: usize::MAX, count: 2 }.into(), &[&[4]]);
    refused(Concat {}.into(), &[&[4, 2, 2], &[4, 2, 3]]);
    refused(Concat {}.into(), &[&[4, 2, 2], &[4]]);
    refused(Mul {}.into(), &[&[4, 2, 2], &[3, 1, 1]]);
    refused(SubsamplePad { stride: 0, n_zeros: 1 }.into(), &[&[4, 2, 2]]);
    refused(LayerNorm { eps: -1.0 }.into(), &[&[4, 2, 2]]);
    refused(LayerNorm { eps: f32::NAN }.into(), &[&[4, 2, 2]]);
    refused(Softmax { temperature: 0.0 }.into(), &[&[4]]);
    refused(Softmax::default().into(), &[&[4, 1, 1]]);
}

/// Sums whose order could depend on the number of threads, over more values than one task takes.
#[test]
fn any_number_of_threads_computes_the_same_bits() {
    let x = random(1, &[3, 40, 50, 24]);
    let (factors, grad) = (random(2, &[3, 24]), random(3, &[x.values.len()]).values);
    let bits = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| {
            let norm = Alone::new(LayerNorm::default(), vec![x.clone()]).compute(&grad);
            let mul = Alone::new(Mul {}, vec![x.clone(), factors.clone()]).compute(&grad);
            let parts = norm.to_params.into_iter().flatten().chain(norm.to_inputs);
            let values: Vec<f32> =
                parts.chain(mul.to_inputs).flat_map(|data| data.values).collect();
            values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        })
    };
    let one = bits(1);
    assert!([2, 3, 5].into_iter().all(|n| bits(n) == one));
}

/// From PyTorch's order.
fn data(value: &Value) -> Data {
    let numbers = |field: &str| value[field].as_array().unwrap().iter();
    let shape: Vec<usize> = numbers("shape").map(|n| n.as_u64().unwrap() as usize).collect();
    let values: Vec<f32> = numbers("values").map(|x| x.as_f64().unwrap() as f32).collect();
    let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    Data::of(&if tensor.rank() == 4 { super::layout::to_nhwc(&tensor).unwrap() } else { tensor })
}

fn all_data(values: &Value) -> Vec<Data> {
    values.as_array().unwrap().iter().map(data).collect()
}

fn check_close(name: &Value, what: &str, got: &Data, want: &Data, [atol, rtol]: [f64; 2]) {
    assert_eq!(got.dims, want.dims, "{name}: {what}");
    for (got, want) in got.values.iter().zip(&want.values) {
        let (got, want) = (f64::from(*got), f64::from(*want));
        assert!(
            (got - want).abs() <= atol + rtol * want.abs(),
            "{name}: {what}: {got}, not {want}"
        );
    }
}

#[test]
fn values_and_gradients_equal_pytorchs() {
    let n_cases = ["ops_values.json", "ops_maps.json"].map(equals_pytorchs);
    assert!(n_cases.iter().sum::<usize>() >= 40, "{n_cases:?} cases");
}

/// Compares the cases of the file `name`, and says how many they are.
fn equals_pytorchs(file: &str) -> usize {
    let golden = golden(file);
    let tolerance = ["atol", "rtol"].map(|field| golden["tolerance"][field].as_f64().unwrap());
    let cases = golden["cases"].as_array().unwrap();
    for case in cases {
        let name = &case["name"];
        let op: Op = serde_json::from_value(case["op"].clone()).unwrap();
        let (inputs, params) = (all_data(&case["inputs"]), all_data(&case["params"]));
        let alone = Alone { op: op.clone(), inputs, params, mode: Mode::Train(Stream::new(1)) };
        let computed = alone.compute(&data(&case["grad_y"]).values);
        check_close(name, "y", &computed.output, &data(&case["y"]), tolerance);
        let wanted = all_data(&case["grad_inputs"]).into_iter();
        for (got, want) in computed.to_inputs.iter().zip(wanted) {
            check_close(name, "gradient of an input", got, &want, tolerance);
        }
        let wanted = all_data(&case["grad_params"]).into_iter();
        for (got, want) in computed.to_params.iter().zip(wanted) {
            let got = got.as_ref().expect("a gradient for each parameter");
            check_close(name, "gradient of a parameter", got, &want, tolerance);
        }
    }
    cases.len()
}
