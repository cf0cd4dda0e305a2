//! Seeded initial values. Each parameter draws from the stream of its own name, so that its value
//! does not depend on the order in which a network is built.

use candle_core::{Device, Tensor};

use crate::ops::{Init, ParamSpec};
use crate::{Result, Stream};

/// The initial values of a tensor.
///
/// # Errors
/// When candle cannot allocate.
pub fn draw(spec: &ParamSpec, stream: Stream, device: &Device) -> Result<Tensor> {
    let mut rng = stream.rng();
    let [fan_in, fan_out] = spec.fans;
    let bound = pytorch_bound(fan_in) as f32;
    let kaiming = |fan: usize| (2.0 / fan.max(1) as f64).sqrt() as f32;
    let mut value = || match spec.init {
        Init::Zeros => 0.0,
        Init::Ones => 1.0,
        Init::Pytorch => rng.uniform_in(-bound, bound),
        Init::KaimingFanIn => kaiming(fan_in) * rng.normal(),
        Init::KaimingFanOut => kaiming(fan_out) * rng.normal(),
        Init::Normal(std) => (std * f64::from(rng.normal())) as f32,
    };
    let values: Vec<f32> = (0..spec.shape.iter().product()).map(|_| value()).collect();
    Ok(Tensor::from_vec(values, spec.shape.as_slice(), device)?)
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
            let spec = ParamSpec::trained("weight", &[n], Init::Pytorch).fans(fan_in, 1);
            let values = draw(&spec, Stream::new(1), &Device::Cpu);
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
