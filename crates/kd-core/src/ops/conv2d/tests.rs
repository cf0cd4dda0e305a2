use super::*;
use crate::Stream;
use crate::ops::{nchw, nhwc};
use crate::testing::{check_grad, random};

/// `(N, H, W, C)`, kernel `(O, C / groups, kh, kw)`, stride, padding, groups.
type Case = ([usize; 4], [usize; 4], [usize; 3]);

/// Odd sizes, strides, paddings and groups; 12 and 32 are the sides of a tile. The last four are
/// computed by transformed tiles, of which the very last has more than one chunk.
const CASES: [Case; 16] = [
    ([1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 1]),
    ([2, 5, 7, 3], [4, 3, 3, 3], [1, 1, 1]),
    ([2, 7, 5, 3], [5, 3, 3, 3], [2, 1, 1]),
    ([1, 9, 8, 2], [3, 2, 7, 7], [2, 3, 1]),
    ([2, 6, 6, 5], [7, 5, 1, 1], [1, 0, 1]),
    ([2, 7, 6, 5], [3, 5, 1, 1], [2, 0, 1]),
    ([1, 8, 9, 4], [6, 2, 3, 3], [1, 1, 2]),
    ([1, 9, 7, 6], [6, 1, 3, 3], [3, 2, 6]),
    ([1, 6, 9, 2], [3, 2, 2, 4], [3, 0, 1]),
    ([1, 4, 4, 1], [1, 1, 2, 2], [1, 3, 1]),
    ([3, 4, 4, 17], [33, 17, 3, 3], [1, 1, 1]),
    ([1, 5, 14, 16], [48, 16, 3, 3], [1, 1, 1]),
    ([2, 6, 8, 64], [80, 64, 3, 3], [1, 1, 1]),
    ([1, 8, 6, 64], [64, 64, 3, 3], [1, 0, 1]),
    ([1, 4, 2, 64], [96, 64, 3, 3], [1, 2, 1]),
    ([33, 4, 4, 64], [64, 64, 3, 3], [1, 1, 1]),
];

fn tensors((x, weight, [stride, padding, groups]): Case) -> ([Tensor; 3], Conv) {
    let bias = random(Stream::new(3), &weight[..1]);
    let tensors = [random(Stream::new(1), &x), random(Stream::new(2), &weight), bias];
    (tensors, Conv { stride, padding, groups })
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn the_forward_equals_candles() {
    for case in CASES {
        let ([x, weight, bias], conv) = tensors(case);
        if case.1[2] != case.1[3] && conv.stride > 1 {
            continue;
        }
        let y = conv2d(&x, &weight, Some(&bias), conv).unwrap();
        let want = nchw(&x).unwrap();
        let want = want.conv2d(&weight, conv.padding, conv.stride, 1, conv.groups).unwrap();
        let want = nhwc(&want).unwrap().broadcast_add(&bias).unwrap();
        assert_eq!(y.dims(), want.dims(), "{case:?}");
        for (y, want) in floats(&y).iter().zip(floats(&want)) {
            assert!((y - want).abs() < 1e-4, "{case:?}: {y} {want}");
        }
    }
}

#[test]
fn gradients_equal_central_differences() {
    for case in CASES {
        let (inputs, conv) = tensors(case);
        check_grad(&inputs, |t| conv2d(&t[0], &t[1], Some(&t[2]), conv));
        check_grad(&inputs[..2], |t| conv2d(&t[0], &t[1], None, conv));
    }
}

#[test]
fn neither_threads_nor_the_rest_of_the_batch_change_the_bits() {
    let (x, weight) =
        (random(Stream::new(1), &[9, 16, 16, 16]), random(Stream::new(2), &[40, 16, 3, 3]));
    let conv = Conv { padding: 1, ..Conv::default() };
    let geometry = Geometry::new(x.dims(), weight.dims(), conv).unwrap();
    let all = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| {
            let y = conv2d(&x, &weight, None, conv).unwrap();
            let to_weight = grad_weight(&x, &y, &weight, &geometry).unwrap();
            let to_x = grad_input(&x, &y, &weight, &geometry).unwrap();
            [y, to_weight, to_x].map(|t| floats(&t))
        })
    };
    assert_eq!(all(1), all(3));
    let alone = conv2d(&x.narrow(0, 5, 1).unwrap(), &weight, None, conv).unwrap();
    let whole = conv2d(&x, &weight, None, conv).unwrap();
    assert_eq!(floats(&alone), floats(&whole.narrow(0, 5, 1).unwrap()));
}

#[test]
fn a_batch_of_none_and_wrong_shapes() {
    let conv = Conv::default();
    let weight = random(Stream::new(2), &[4, 3, 3, 3]);
    let none = Tensor::zeros((0, 5, 5, 3), candle_core::DType::F32, weight.device()).unwrap();
    assert_eq!(conv2d(&none, &weight, None, conv).unwrap().dims(), [0, 3, 3, 4]);
    let refused = |x: &[usize], conv| {
        let x = Tensor::zeros(x, candle_core::DType::F32, weight.device()).unwrap();
        conv2d(&x, &weight, None, conv).unwrap_err().to_string()
    };
    assert!(refused(&[1, 5, 5, 4], conv).contains("weight"));
    assert!(refused(&[1, 2, 5, 3], conv).contains("3x3 pixels"));
    assert!(refused(&[5, 5, 3], conv).contains("(N, H, W, C)"));
    assert!(refused(&[1, 5, 5, 3], Conv { stride: 0, ..conv }).contains("stride"));
    assert!(refused(&[1, 5, 5, 3], Conv { groups: 2, ..conv }).contains("weight"));
    assert!(refused(&[1, 0, 0, 3], Conv { padding: 4, ..conv }).contains("pixels"));
}
