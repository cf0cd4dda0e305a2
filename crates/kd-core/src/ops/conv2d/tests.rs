use super::geometry::Geometry;
use super::kept::{forward, grad_input};
use super::weights::{grad_weight, gradients};
use super::*;
use crate::Stream;
use crate::act::Clamp;
use crate::ops::source::Source;
use crate::simd::testing::with_all_vectors;

/// `(N, H, W, C)`, kernel `(O, C / groups, kh, kw)`, stride, padding (top, left, bottom, right),
/// dilation, groups.
type Case = ([usize; 4], [usize; 4], [usize; 2], [usize; 4], [usize; 2], usize);

/// Odd sizes, strides, margins and groups; 12 and 32 are the sides of a tile.
const CASES: [Case; 50] = [
    ([1, 1, 1, 1], [1, 1, 1, 1], [1, 1], [0; 4], [1, 1], 1),
    ([2, 5, 7, 3], [4, 3, 3, 3], [1, 1], [1; 4], [1, 1], 1),
    ([2, 7, 5, 3], [5, 3, 3, 3], [2, 2], [1; 4], [1, 1], 1),
    ([1, 9, 8, 2], [3, 2, 7, 7], [2, 2], [3; 4], [1, 1], 1),
    ([2, 6, 6, 5], [7, 5, 1, 1], [1, 1], [0; 4], [1, 1], 1),
    ([2, 7, 6, 5], [3, 5, 1, 1], [2, 2], [0; 4], [1, 1], 1),
    ([1, 6, 9, 2], [3, 2, 2, 4], [3, 3], [0; 4], [1, 1], 1),
    ([1, 4, 4, 1], [1, 1, 2, 2], [1, 1], [3; 4], [1, 1], 1),
    ([3, 4, 4, 17], [33, 17, 3, 3], [1, 1], [1; 4], [1, 1], 1),
    ([1, 5, 14, 16], [48, 16, 3, 3], [1, 1], [1; 4], [1, 1], 1),
    // By transformed tiles, the last with more than one chunk of them.
    ([2, 6, 8, 64], [80, 64, 3, 3], [1, 1], [1; 4], [1, 1], 1),
    ([1, 8, 6, 64], [64, 64, 3, 3], [1, 1], [0; 4], [1, 1], 1),
    ([1, 4, 2, 64], [96, 64, 3, 3], [1, 1], [2; 4], [1, 1], 1),
    ([1, 5, 5, 64], [64, 64, 3, 3], [1, 1], [0, 2, 1, 1], [1, 1], 1),
    ([33, 4, 4, 64], [64, 64, 3, 3], [1, 1], [1; 4], [1, 1], 1),
    // Tiles that go beyond the image, many images or rows of tiles in one group, and weights that
    // all tasks sum together.
    ([3, 7, 13, 32], [16, 32, 3, 3], [1, 1], [1; 4], [1, 1], 1),
    ([70, 3, 4, 16], [48, 16, 3, 3], [1, 1], [1; 4], [1, 1], 1),
    ([2, 31, 50, 16], [32, 16, 3, 3], [1, 1], [2, 1, 0, 2], [1, 1], 1),
    ([13, 6, 11, 144], [96, 144, 3, 3], [1, 1], [1; 4], [1, 1], 1),
    // Each direction its own stride, margins and distance of taps.
    ([2, 7, 9, 6], [5, 6, 3, 2], [1, 2], [0, 1, 2, 0], [1, 1], 1),
    ([1, 8, 8, 3], [4, 3, 3, 3], [2, 2], [0, 0, 1, 1], [1, 1], 1),
    ([1, 9, 9, 4], [4, 4, 3, 3], [1, 1], [2; 4], [2, 2], 1),
    ([2, 9, 11, 4], [5, 4, 3, 2], [2, 3], [2, 0, 1, 3], [2, 3], 1),
    ([1, 7, 7, 5], [3, 5, 4, 5], [3, 1], [1, 4, 3, 0], [1, 2], 1),
    ([1, 2, 2, 3], [2, 3, 5, 5], [1, 1], [2; 4], [1, 1], 1),
    ([1, 1, 3, 2], [2, 2, 1, 3], [1, 1], [0, 1, 0, 1], [1, 1], 1),
    ([1, 6, 6, 3], [2, 3, 1, 1], [1, 2], [0, 5, 2, 0], [1, 1], 1),
    ([1, 8, 9, 2], [2, 2, 2, 2], [1, 1], [0; 4], [3, 4], 1),
    // Groups of every size.
    ([1, 8, 9, 4], [6, 2, 3, 3], [1, 1], [1; 4], [1, 1], 2),
    ([2, 5, 6, 12], [12, 4, 3, 3], [1, 1], [1; 4], [1, 1], 3),
    ([2, 5, 6, 16], [16, 4, 3, 3], [2, 2], [1; 4], [1, 1], 4),
    ([2, 5, 4, 6], [6, 2, 3, 3], [1, 1], [1; 4], [1, 1], 3),
    ([1, 6, 5, 24], [24, 8, 3, 3], [2, 2], [1; 4], [1, 1], 3),
    ([2, 4, 5, 20], [30, 10, 1, 1], [1, 1], [0; 4], [1, 1], 2),
    ([2, 4, 5, 18], [9, 6, 1, 1], [1, 1], [0; 4], [1, 1], 3),
    ([1, 5, 5, 64], [96, 32, 3, 3], [1, 1], [1; 4], [1, 1], 2),
    ([1, 6, 7, 34], [6, 17, 2, 3], [1, 2], [0, 1, 1, 0], [2, 1], 2),
    ([1, 6, 7, 6], [34, 3, 3, 2], [2, 1], [0, 1, 1, 0], [1, 2], 2),
    // Depthwise.
    ([1, 9, 7, 6], [6, 1, 3, 3], [3, 3], [2; 4], [1, 1], 6),
    ([2, 6, 7, 5], [5, 1, 3, 3], [1, 1], [1; 4], [1, 1], 5),
    ([2, 8, 7, 8], [8, 1, 3, 3], [2, 2], [1; 4], [1, 1], 8),
    ([1, 7, 9, 17], [17, 1, 5, 5], [1, 1], [2; 4], [1, 1], 17),
    ([1, 9, 9, 24], [24, 1, 5, 5], [2, 2], [1, 1, 2, 2], [1, 1], 24),
    ([3, 8, 8, 40], [40, 1, 3, 3], [2, 2], [0, 0, 1, 1], [1, 1], 40),
    ([1, 8, 9, 33], [33, 1, 4, 2], [1, 3], [1, 0, 2, 1], [2, 1], 33),
    ([1, 3, 3, 9], [9, 1, 1, 1], [1, 1], [0; 4], [1, 1], 9),
    ([2, 5, 6, 5], [10, 1, 3, 3], [1, 1], [1; 4], [1, 1], 5),
    ([1, 6, 6, 7], [21, 1, 3, 3], [2, 2], [1; 4], [1, 1], 7),
    ([1, 6, 6, 3], [27, 1, 3, 3], [2, 1], [1, 0, 1, 1], [1, 1], 3),
    // Images larger than a block: rows of them are.
    ([2, 70, 64, 48], [48, 1, 3, 3], [2, 2], [1; 4], [1, 1], 48),
];

/// Larger than a block, by other ways than the last case.
const LARGE: [Case; 8] = [
    ([1, 60, 70, 50], [50, 1, 5, 5], [1, 1], [2, 1, 2, 3], [1, 1], 50),
    ([1, 67, 65, 40], [40, 4, 3, 3], [1, 1], [1; 4], [1, 1], 10),
    ([1, 70, 64, 40], [33, 40, 3, 3], [3, 2], [1; 4], [1, 1], 1),
    ([2, 66, 70, 36], [40, 36, 1, 1], [1, 1], [0; 4], [1, 1], 1),
    ([1, 66, 70, 48], [48, 24, 2, 2], [2, 2], [0; 4], [1, 1], 2),
    ([2, 66, 70, 32], [48, 32, 3, 3], [1, 1], [1; 4], [1, 1], 1),
    // Enough tiles that each task has sums of its own.
    ([9, 61, 60, 16], [16, 16, 3, 3], [1, 1], [1; 4], [1, 1], 1),
    // Pixel by pixel, with weights that are too many for the first-level cache.
    ([3, 9, 7, 97], [140, 97, 1, 1], [1, 1], [0; 4], [1, 1], 1),
];

/// By transformed tiles, of which all tasks sum the weights' gradient together.
const MANY: Case = ([9, 9, 13, 128], [112, 128, 3, 3], [1, 1], [1, 0, 1, 1], [1, 1], 1);

fn geometry((x, weight, stride, padding, dilation, groups): Case) -> Geometry {
    Geometry::new(&x, &weight, Conv { stride, padding, dilation, groups }).unwrap()
}

fn random(stream: u64, len: usize) -> Vec<f32> {
    let mut rng = Stream::new(stream).rng();
    (0..len).map(|_| rng.uniform_in(-1.0, 1.0)).collect()
}

/// Input, weights and the output's gradient.
fn values(case: Case) -> [Vec<f32>; 3] {
    let out: usize = geometry(case).out_dims().iter().product();
    [(1, case.0.iter().product()), (2, case.1.iter().product()), (3, out)]
        .map(|(s, n)| random(s, n))
}

/// The output, and the gradients of input and weights, product by product in f64.
fn plain_sums(case: Case, [x, weight, grad]: [&[f32]; 3]) -> [Vec<f64>; 3] {
    let [mut y, mut to_x, mut to_weight] = [grad, x, weight].map(|v| vec![0.0; v.len()]);
    let mut add = |i: usize, j: usize, k: usize| {
        let [x, weight, grad] = [x[i], weight[j], grad[k]].map(f64::from);
        y[k] += x * weight;
        to_x[i] += grad * weight;
        to_weight[j] += grad * x;
    };
    let ([_, height, width, n_in], [n_out, in_group, kh, kw], stride, padding, dilation, groups) =
        case;
    let [n, oh, ow, _] = geometry(case).out_dims();
    let out_group = n_out / groups;
    let at = |out: usize, tap: usize, axis: usize, size: usize| {
        let place = (out * stride[axis] + tap * dilation[axis]).checked_sub(padding[axis])?;
        (place < size).then_some(place)
    };
    for (image, oy, ox) in grid([n, oh, ow]) {
        for (ky, kx, o) in grid([kh, kw, n_out]) {
            let (Some(y), Some(x)) = (at(oy, ky, 0, height), at(ox, kx, 1, width)) else {
                continue;
            };
            for i in 0..in_group {
                let channel = o / out_group * in_group + i;
                add(
                    ((image * height + y) * width + x) * n_in + channel,
                    ((o * in_group + i) * kh + ky) * kw + kx,
                    ((image * oh + oy) * ow + ox) * n_out + o,
                );
            }
        }
    }
    [y, to_x, to_weight]
}

fn grid([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// `got` against `want`, relative to the largest of all values: an f32 sum of some thousand.
fn compare(case: Case, what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{case:?}: {what}");
    let largest = want.iter().fold(1.0, |largest: f64, v| largest.max(v.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want).abs();
        assert!(error < 3e-6 * largest, "{case:?}: {what} {i}: {got}, not {want}");
    }
}

#[test]
fn values_and_gradients_equal_the_plain_sums() {
    for case in CASES.into_iter().chain(LARGE) {
        let geometry = geometry(case);
        let [x, weight, grad] = values(case);
        let [y, to_x, to_weight] = plain_sums(case, [&x, &weight, &grad]);
        let [source, grads] = [&x, &grad].map(|values| Source::Plain(values, Clamp::NONE));
        let none = |_: usize, _: &mut [f32]| {};
        compare(case, "y", &forward(None, &source, &weight, &geometry, none), &y);
        compare(case, "grad_x", &grad_input(None, &grads, &weight, &geometry, none), &to_x);
        let alone = grad_weight(&source, &grads, &geometry);
        compare(case, "grad_weight", &alone, &to_weight);
        let (both, to_x_too) = gradients(&source, &grads, &weight, &geometry, none);
        assert_eq!(alone, both, "{case:?}");
        compare(case, "grad_x with grad_weight", &to_x_too, &to_x);
    }
}

#[test]
fn every_finished_block_is_where_it_says() {
    for case in CASES.into_iter().chain(LARGE) {
        let geometry = geometry(case);
        let [x, weight, grad] = values(case);
        let [source, grads] = [&x, &grad].map(|values| Source::Plain(values, Clamp::NONE));
        let number = |first: usize, values: &mut [f32]| {
            values.iter_mut().zip(first..).for_each(|(value, place)| *value = place as f32);
        };
        let is_numbered = |values: &[f32]| {
            values == (0..values.len()).map(|place| place as f32).collect::<Vec<_>>()
        };
        assert!(is_numbered(&forward(None, &source, &weight, &geometry, number)), "{case:?}");
        assert!(is_numbered(&grad_input(None, &grads, &weight, &geometry, number)), "{case:?}");
        let (_, to_x) = gradients(&source, &grads, &weight, &geometry, number);
        assert!(is_numbered(&to_x), "{case:?}");
    }
}

#[test]
fn a_source_that_is_computed_on_the_way_gives_the_same_bits() {
    for case in CASES.into_iter().chain(LARGE) {
        let geometry = geometry(case);
        let [x, weight, grad] = values(case);
        let n = geometry.channels;
        let (scale, shift) = (random(4, n).repeat(128_usize.div_ceil(n)), random(5, n));
        let shift = shift.repeat(128_usize.div_ceil(n));
        let norm = Source::Norm { rows: &x, scale, shift, clamp: Clamp::RELU };
        let values = norm.to_buffer(n);
        let plain = Source::Plain(&values, Clamp::RELU);
        let grads = Source::Plain(&grad, Clamp::NONE);
        let all = |source: &Source| {
            let y = forward(None, source, &weight, &geometry, |_, _| {});
            (y.to_vec(), gradients(source, &grads, &weight, &geometry, |_, _| {}).0)
        };
        assert!(all(&norm) == all(&plain), "{case:?}");
    }
}

#[test]
fn neither_threads_nor_the_rest_of_the_batch_change_the_bits() {
    let dense: Case = ([9, 16, 16, 16], [40, 16, 3, 3], [1, 1], [1; 4], [1, 1], 1);
    let depthwise: Case = ([9, 16, 16, 40], [40, 1, 3, 3], [1, 1], [1; 4], [1, 1], 40);
    let grouped: Case = ([9, 16, 16, 48], [48, 4, 3, 3], [1, 1], [1; 4], [1, 1], 12);
    let large = [1, 2, 3, 5, 6, 7].map(|i| LARGE[i]);
    for case in [dense, depthwise, grouped, CASES[49], MANY].into_iter().chain(large) {
        let geometry = geometry(case);
        let [x, weight, grad] = values(case);
        let grads = Source::Plain(&grad, Clamp::NONE);
        let source = Source::Plain(&x, Clamp::NONE);
        let all = |n_threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| {
                let y = forward(None, &source, &weight, &geometry, |_, _| {});
                let (to_weight, to_x) = gradients(&source, &grads, &weight, &geometry, |_, _| {});
                [y.to_vec(), to_weight, to_x.to_vec()]
            })
        };
        let [whole, ..] = all(1);
        assert!([2, 3].iter().all(|n| all(1) == all(*n)), "{case:?}");
        let (n_in, n_out) = (x.len() / geometry.n, whole.len() / geometry.n);
        let last = Geometry { n: 1, ..geometry };
        let source = Source::Plain(&x[x.len() - n_in..], Clamp::NONE);
        let alone = forward(None, &source, &weight, &last, |_, _| {});
        assert!(alone[..] == whole[whole.len() - n_out..], "{case:?}");
    }
}

#[test]
fn vectors_of_any_width_give_the_same_bits() {
    for case in CASES.into_iter().chain([LARGE[3], LARGE[5], LARGE[6], LARGE[7], MANY]) {
        let geometry = geometry(case);
        let [x, weight, grad] = values(case);
        let [source, grads] = [&x, &grad].map(|values| Source::Plain(values, Clamp::NONE));
        let of_all = with_all_vectors(|| {
            let y = forward(None, &source, &weight, &geometry, |_, _| {});
            let (to_weight, to_x) = gradients(&source, &grads, &weight, &geometry, |_, _| {});
            [y.to_vec(), to_weight, to_x.to_vec()]
        });
        assert!(of_all.iter().all(|one| *one == of_all[0]), "{case:?}");
    }
}

#[test]
fn a_batch_of_none_and_wrong_shapes() {
    let conv = Conv::default();
    let of = |x: &[usize], conv| Geometry::new(x, &[4, 3, 3, 3], conv);
    let none = of(&[0, 5, 5, 3], conv).unwrap();
    assert_eq!(none.out_dims(), [0, 3, 3, 4]);
    let weight = random(2, 4 * 27);
    let source = Source::Plain(&[], Clamp::NONE);
    assert!(forward(None, &source, &weight, &none, |_, _| {}).is_empty());
    let (to_weight, to_x) = gradients(&source, &source, &weight, &none, |_, _| {});
    assert!(to_weight == [0.0; 4 * 27] && to_x.is_empty());
    let refused = |x: &[usize], conv| of(x, conv).unwrap_err().to_string();
    assert!(refused(&[1, 5, 5, 4], conv).contains("weight"));
    assert!(refused(&[1, 2, 5, 3], conv).contains("3x3 pixels"));
    assert!(refused(&[5, 5, 3], conv).contains("(N, H, W, C)"));
    assert!(refused(&[1, 5, 5, 3], Conv { stride: [0, 1], ..conv }).contains("stride"));
    assert!(refused(&[1, 5, 5, 3], Conv { groups: 2, ..conv }).contains("weight"));
    assert!(refused(&[1, 0, 0, 3], Conv { padding: [4; 4], ..conv }).contains("pixels"));
    assert!(refused(&[1, 5, 5, 3], Conv { dilation: [3, 1], ..conv }).contains("7x3 pixels"));
    let wide = Conv { dilation: [usize::MAX, 1], ..conv };
    assert!(refused(&[1, 5, 5, 3], wide).contains("dilation"));
}

/// Relative root mean square of the error.
fn error(got: &[f32], want: &[f64]) -> f64 {
    let square = |x: f64| x * x;
    let errors: f64 = got.iter().zip(want).map(|(got, want)| square(f64::from(*got) - want)).sum();
    (errors / want.iter().copied().map(square).sum::<f64>()).sqrt()
}

/// Of outputs, input gradient and weight gradient.
fn errors(case: Case, sums: ConvSums) -> [f64; 3] {
    let geometry = Geometry { sums, ..geometry(case) };
    let [mut x, weight, grad] = values(case);
    x.iter_mut().for_each(|x| *x = x.max(0.0));
    let [y, to_x, to_weight] = plain_sums(case, [&x, &weight, &grad]);
    let [source, grads] = [&x, &grad].map(|values| Source::Plain(values, Clamp::NONE));
    let got = forward(None, &source, &weight, &geometry, |_, _| {});
    let (got_weight, got_x) = gradients(&source, &grads, &weight, &geometry, |_, _| {});
    [error(&got, &y), error(&got_x, &to_x), error(&got_weight, &to_weight)]
}

#[test]
fn fewer_multiplications_cost_little_exactness() {
    let case = |n, side, n_channels| -> Case {
        let (x, weight) = ([n, side, side, n_channels], [n_channels, n_channels, 3, 3]);
        (x, weight, [1, 1], [1; 4], [1, 1], 1)
    };
    let cases = [(case(2, 16, 64), 1.0e-6), (case(1, 8, 256), 1.9e-6), (case(1, 4, 512), 2.8e-6)];
    for (case, most) in cases {
        let (fast, exact) = (errors(case, ConvSums::Fast), errors(case, ConvSums::Exact));
        for (fast, exact) in fast.into_iter().zip(exact) {
            assert!(exact < fast, "{case:?}: {exact} and {fast}: both are the same sums");
            assert!(fast < most, "{case:?}: {fast}");
            assert!(fast < 8.0 * exact, "{case:?}: {fast}, not {exact}");
        }
    }
}

/// The sizes and values of a golden tensor, images in the order `(N, H, W, C)`.
fn tensor(value: &serde_json::Value) -> (Vec<usize>, Vec<f32>) {
    let numbers = |field: &str| value[field].as_array().unwrap().iter();
    let shape = numbers("shape").map(|n| n.as_u64().unwrap() as usize).collect();
    (shape, numbers("values").map(|v| v.as_f64().unwrap() as f32).collect())
}

fn image(value: &serde_json::Value) -> ([usize; 4], Vec<f32>) {
    let (shape, values) = tensor(value);
    let [n, c, h, w] = shape[..] else { panic!("{shape:?}") };
    let place = |(image, y, x): (usize, usize, usize)| {
        let values = &values;
        (0..c).map(move |channel| values[((image * c + channel) * h + y) * w + x])
    };
    ([n, h, w, c], grid([n, h, w]).flat_map(place).collect())
}

#[test]
fn general_convolutions_equal_pytorchs() {
    let golden = crate::golden("conv2d_general.json");
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let list = |field: &str| -> Vec<usize> {
            case[field].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
        };
        let conv = Conv {
            stride: list("stride").try_into().unwrap(),
            padding: list("padding").try_into().unwrap(),
            dilation: list("dilation").try_into().unwrap(),
            groups: case["groups"].as_u64().unwrap() as usize,
        };
        let (dims, x) = image(&case["x"]);
        let (shape, weight) = tensor(&case["weight"]);
        let geometry = Geometry::new(&dims, &shape, conv).unwrap();
        let grad = image(&case["grad_y"]).1;
        let [source, grads] = [&x, &grad].map(|values| Source::Plain(values, Clamp::NONE));
        let y = forward(None, &source, &weight, &geometry, |_, _| {});
        let (to_weight, to_x) = gradients(&source, &grads, &weight, &geometry, |_, _| {});
        let check = |what: &str, got: &[f32], want: &[f32]| {
            assert_eq!(got.len(), want.len(), "{}: {what}", case["name"]);
            for (got, want) in got.iter().zip(want) {
                let close = (got - want).abs() <= 1e-5 * (1.0 + want.abs());
                assert!(close, "{}: {what}: {got}, not {want}", case["name"]);
            }
        };
        check("y", &y, &image(&case["y"]).1);
        check("grad_x", &to_x, &image(&case["grad_x"]).1);
        check("grad_weight", &to_weight, &tensor(&case["grad_weight"]).1);
    }
}
