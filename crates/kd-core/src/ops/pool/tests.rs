use candle_core::{Device, Tensor, Var};

use super::*;
use crate::Stream;
use crate::testing::{check_grad, random};
use crate::{Mode, Result, apply};

const POOLS: [Pool; 6] = [(1, 1, 0), (2, 2, 0), (3, 2, 1), (2, 1, 0), (3, 3, 0), (3, 1, 1)];

/// Kernel, stride and padding of square windows.
type Pool = (usize, usize, usize);

fn max_pool2d(x: &Tensor, (kernel, stride, padding): Pool) -> Result<Tensor> {
    apply(MaxPool::new(kernel, stride, padding), &[x], &[], Mode::Eval)
}

fn avg_pool2d(x: &Tensor, (kernel, stride, padding): Pool) -> Result<Tensor> {
    let pool = AvgPool { padding: [padding; 4], ..AvgPool::new(kernel, stride) };
    apply(pool, &[x], &[], Mode::Eval)
}

fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    apply(GlobalAvgPool {}, &[x], &[], Mode::Eval)
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn gradients_equal_central_differences() {
    let x = [random(Stream::new(1), &[2, 7, 5, 3])];
    for pool in POOLS {
        check_grad(&x, |t| max_pool2d(&t[0], pool));
        check_grad(&x, |t| avg_pool2d(&t[0], pool));
    }
    check_grad(&x, |t| global_avg_pool(&t[0]));
}

#[test]
fn values_by_hand() {
    // One channel, 3 rows of 3: 1 to 9.
    let x = Tensor::arange(1f32, 10., &Device::Cpu).unwrap().reshape((1, 3, 3, 1)).unwrap();
    let pool = |kernel, stride, padding| (kernel, stride, padding);
    assert_eq!(floats(&max_pool2d(&x, pool(2, 1, 0)).unwrap()), [5., 6., 8., 9.]);
    assert_eq!(floats(&max_pool2d(&x, pool(3, 2, 1)).unwrap()), [5., 6., 8., 9.]);
    assert_eq!(floats(&max_pool2d(&x, pool(2, 2, 0)).unwrap()), [5.]);
    assert_eq!(floats(&avg_pool2d(&x, pool(2, 1, 0)).unwrap()), [3., 4., 6., 7.]);
    // The corner's window has 1, 2, 4, 5 and five zeros of the padding.
    assert_eq!(floats(&avg_pool2d(&x, pool(3, 2, 1)).unwrap())[..1], [12. / 9.]);
    assert_eq!(floats(&global_avg_pool(&x).unwrap()), [5.]);
}

#[test]
fn the_first_of_equal_maxima_takes_the_gradient() {
    let x = Tensor::new(&[1f32, 7., 7., 7., 0., 7.], &Device::Cpu).unwrap();
    let x = Var::from_tensor(&x.reshape((1, 2, 3, 1)).unwrap()).unwrap();
    let y = max_pool2d(&x, (2, 1, 0)).unwrap();
    let grads = y.sum_all().unwrap().backward().unwrap();
    // Windows (1, 7, 7, 0) and (7, 7, 0, 7): both choose the upper middle.
    assert_eq!(floats(grads.get(&x).unwrap()), [0., 2., 0., 0., 0., 0.]);
}

#[test]
fn padding_never_wins_and_nan_is_not_hidden() {
    let pool = (3, 1, 1);
    let x = Tensor::new(&[-3f32, f32::NEG_INFINITY], &Device::Cpu).unwrap();
    let x = x.reshape((1, 1, 2, 1)).unwrap();
    assert_eq!(floats(&max_pool2d(&x, pool).unwrap()), [-3., -3.]);
    let x = Tensor::new(&[1f32, f32::NAN, 2.], &Device::Cpu).unwrap();
    let y = max_pool2d(&x.reshape((1, 1, 3, 1)).unwrap(), pool).unwrap();
    assert!(floats(&y).iter().all(|v| v.is_nan()));
}

#[test]
fn impossible_windows_are_refused() {
    let x = random(Stream::new(1), &[1, 4, 4, 1]);
    let refused = |kernel, stride, padding| {
        let pool = (kernel, stride, padding);
        assert!(max_pool2d(&x, pool).is_err() && avg_pool2d(&x, pool).is_err(), "{pool:?}");
    };
    refused(0, 1, 0);
    refused(2, 0, 0);
    refused(2, 2, 2);
    refused(5, 1, 0);
    refused(17, 1, 8);
    assert!(max_pool2d(&x.flatten_all().unwrap(), (1, 1, 0)).is_err());
    assert!(global_avg_pool(&x.flatten_all().unwrap()).is_err());
}
