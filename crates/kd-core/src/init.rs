//! Seeded initial values. Each parameter draws from the stream of its own name, so that its value
//! does not depend on the order in which a network is built.

use candle_core::{Device, Tensor};

use crate::{Result, Stream};

/// Values uniform in `[-bound, bound)`.
///
/// # Errors
/// When candle cannot allocate.
pub fn uniform(stream: Stream, shape: &[usize], bound: f64, device: &Device) -> Result<Tensor> {
    let mut rng = stream.rng();
    let bound = bound as f32;
    let n = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|_| rng.uniform_in(-bound, bound)).collect();
    Ok(Tensor::from_vec(values, shape, device)?)
}

/// Values of `N(0, 2 / fan)`: He et al. 2015, for layers that ReLU follows; PyTorch's
/// `kaiming_normal_` with `nonlinearity="relu"`.
///
/// # Errors
/// When candle cannot allocate.
pub fn kaiming_normal(
    stream: Stream,
    shape: &[usize],
    fan: usize,
    device: &Device,
) -> Result<Tensor> {
    let mut rng = stream.rng();
    let std = (2.0 / fan.max(1) as f64).sqrt() as f32;
    let n = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|_| std * rng.normal()).collect();
    Ok(Tensor::from_vec(values, shape, device)?)
}

/// The bound of PyTorch's default for linear layers and convolutions, weight and bias alike:
/// Kaiming uniform with `a = sqrt(5)`, which is `U(-1/sqrt(fan_in), 1/sqrt(fan_in))`.
pub fn pytorch_bound(fan_in: usize) -> f64 {
    1.0 / (fan_in as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn moments_equal_pytorchs_default() {
        let golden = golden("init.json");
        let z = golden["tolerance"]["z"].as_f64().unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let fan_in = case["fan_in"].as_u64().unwrap() as usize;
            let (bound, variance) =
                (case["bound"].as_f64().unwrap(), case["variance"].as_f64().unwrap());
            assert!((pytorch_bound(fan_in) - bound).abs() < 1e-9);
            let n = 200_000;
            let values = uniform(Stream::new(1), &[n], pytorch_bound(fan_in), &Device::Cpu);
            let values: Vec<f64> =
                values.unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect();
            let mean = values.iter().sum::<f64>() / n as f64;
            let spread = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
            assert!(mean.abs() < z * (variance / n as f64).sqrt());
            assert!((spread - variance).abs() < z * variance * (0.8 / n as f64).sqrt());
            assert!(values.iter().all(|v| v.abs() <= bound));
        }
    }
}
