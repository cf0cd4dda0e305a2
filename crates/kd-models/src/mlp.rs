//! Multilayer perceptrons: the networks of the paper's MNIST section.

use kd_core::ops::{Flatten, Linear, Relu};
use kd_core::{Error, Graph, Result};
use serde::{Deserialize, Serialize};

use crate::layers::{checked, dropout};
use crate::{ModelSpec, Network};

/// Linear layers with ReLU and dropout between them (Hinton et al. 2015, section 3).
///
/// Parameters are named `fc1.weight`, `fc1.bias`, `fc2.weight`, ...; features are `fc1.relu`,
/// `fc2.relu`, ...
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mlp {
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// Probability with which a hidden unit is dropped in training, in `[0, 1)`.
    #[serde(default)]
    pub dropout: f32,
    /// Probability with which a pixel is dropped in training, in `[0, 1)`.
    #[serde(default)]
    pub input_dropout: f32,
}

impl Default for Mlp {
    /// The paper's teacher.
    fn default() -> Self {
        Self { hidden: vec![1200, 1200], dropout: 0.5, input_dropout: 0.0 }
    }
}

impl Network for Mlp {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        self.check(image_shape, n_classes)?;
        let mut net = Graph::new(image_shape);
        net.then("flatten", Flatten {});
        dropout(&mut net, "dropout", self.input_dropout, Some(0));
        for (i, n_units) in (1..).zip(&self.hidden) {
            net.then(format!("fc{i}"), Linear::new(*n_units));
            net.then(format!("fc{i}.relu"), Relu {});
            dropout(&mut net, &format!("fc{i}.dropout"), self.dropout, Some(i));
        }
        net.then(format!("fc{}", self.hidden.len() + 1), Linear::new(n_classes));
        checked(net)
    }

    fn usual_data(&self) -> ([usize; 3], usize) {
        ([1, 28, 28], 10)
    }

    /// `mlp-1200-1200`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        let sizes = name.strip_prefix("mlp-")?.split('-');
        let hidden = sizes.map(|n| n.parse().ok()).collect::<Option<_>>()?;
        Some(ModelSpec::Mlp(Self { hidden, ..Self::default() }))
    }

    fn short_name(&self) -> String {
        self.hidden.iter().fold("mlp".into(), |name, n| format!("{name}-{n}"))
    }
}

/// The most weights of a network, 4 GiB: far more than any here, and no slip of the finger.
const MAX_WEIGHTS: usize = 1 << 30;

impl Mlp {
    /// Refuses sizes whose products would overflow before their shapes are looked at.
    fn check(&self, image_shape: [usize; 3], n_classes: usize) -> Result<()> {
        if self.hidden.contains(&0) {
            return Err(Error::config("hidden", "each layer needs at least one unit"));
        }
        let sizes = [&[image_shape.iter().product()], &self.hidden[..], &[n_classes]].concat();
        let n_weights = sizes
            .windows(2)
            .try_fold(0usize, |n, size| n.checked_add(size[0].checked_mul(size[1])?));
        match n_weights {
            Some(n) if n <= MAX_WEIGHTS => Ok(()),
            _ => {
                let reason = format!("layers of {sizes:?} have more than {MAX_WEIGHTS} weights");
                Err(Error::config("hidden", reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use kd_core::testing::random;
    use kd_core::{Classifier, Mode, Net, Stream};

    use super::*;

    fn mnist(hidden: &[usize]) -> Net {
        let config = Mlp { hidden: hidden.to_vec(), ..Mlp::default() };
        config.build([1, 28, 28], 10, Stream::new(1), &Device::Cpu).unwrap()
    }

    #[test]
    fn parameter_counts_are_the_papers() {
        for (hidden, want) in
            [([1200; 2], 2_395_210), ([800; 2], 1_276_810), ([300; 2], 328_810), ([30; 2], 24_790)]
        {
            assert_eq!(mnist(&hidden).params().n_elements(), want);
        }
    }

    #[test]
    fn initial_values_do_not_depend_on_the_other_layers() {
        let (deep, shallow) = (mnist(&[30, 30]), mnist(&[30]));
        let weight = |net: &Net| {
            let weight = net.params().get("fc1.weight").unwrap().constant();
            weight.to_vec2::<f32>().unwrap()
        };
        assert_eq!(weight(&deep), weight(&shallow));
    }

    #[test]
    fn features_are_the_hidden_layers() {
        let net = mnist(&[40, 30]);
        let images = random(Stream::new(2), &[5, 1, 28, 28]);
        let taps = ["fc1.relu", "fc2.relu"];
        let (logits, features) = net.forward_with_taps(&images, Mode::Eval, &taps).unwrap();
        assert_eq!(logits.dims(), [5, 10]);
        let shapes: Vec<_> = features.iter().map(|(n, t)| (n.as_str(), t.dims())).collect();
        assert_eq!(shapes, [("fc1.relu", &[5, 40][..]), ("fc2.relu", &[5, 30])]);
        let plain = net.forward(&images, Mode::Eval).unwrap();
        assert_eq!(plain.to_vec2::<f32>().unwrap(), logits.to_vec2::<f32>().unwrap());
    }

    /// Values and gradients of a small network against PyTorch's (`make_golden.py`).
    #[test]
    fn a_small_network_equals_the_golden_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/mlp.json");
        let golden: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let config = Mlp { hidden: vec![5, 4], dropout: 0.0, input_dropout: 0.0 };
        let net = config.build([1, 2, 3], 3, Stream::new(0), &Device::Cpu).unwrap();
        let layers = golden["layers"].as_array().unwrap();
        let values = layers.iter().enumerate().flat_map(|(i, layer)| {
            ["weight", "bias"].map(|part| (format!("fc{}.{part}", i + 1), tensor(&layer[part])))
        });
        net.params().load(&values.collect()).unwrap();
        let images = tensor(&golden["inputs"]).reshape(((), 1, 2, 3)).unwrap();
        let images = candle_core::Var::from_tensor(&images).unwrap();
        let logits = net.forward(&images, Mode::Train(Stream::new(0))).unwrap();
        let labels = numbers(&golden["labels"]).iter().map(|&x| x as u32).collect::<Vec<_>>();
        let labels = Tensor::new(labels, &Device::Cpu).unwrap();
        let loss = kd_core::ops::cross_entropy(&logits, &labels, 0.0).unwrap();
        let grads = loss.backward().unwrap();
        let check = |what: &str, got: &Tensor, want: &serde_json::Value| {
            let got = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let (atol, rtol) = (&golden["tolerance"]["atol"], &golden["tolerance"]["rtol"]);
            for (g, w) in got.iter().zip(numbers(want)) {
                let allowed = atol.as_f64().unwrap() + rtol.as_f64().unwrap() * w.abs();
                assert!((f64::from(*g) - w).abs() <= allowed, "{what}: {g}, want {w}");
            }
        };
        check("logits", &logits, &golden["logits"]);
        check("loss", &loss, &golden["loss"]);
        check("input", grads.get(&images).unwrap(), &golden["grad_inputs"]);
        for (i, layer) in layers.iter().enumerate() {
            for part in ["weight", "bias"] {
                let name = format!("fc{}.{part}", i + 1);
                let grad = net.params().get(&name).unwrap().grad();
                check(&name, grad.get().unwrap(), &layer[&format!("grad_{part}")]);
            }
        }
    }

    fn numbers(value: &serde_json::Value) -> Vec<f64> {
        match value {
            serde_json::Value::Array(items) => items.iter().flat_map(numbers).collect(),
            other => vec![other.as_f64().unwrap()],
        }
    }

    fn tensor(value: &serde_json::Value) -> Tensor {
        let values: Vec<f32> = numbers(value).iter().map(|&x| x as f32).collect();
        let n = value.as_array().unwrap().len();
        let shape = if value[0].is_array() { vec![n, values.len() / n] } else { vec![n] };
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn wrong_settings_and_images_are_refused() {
        let refused = |config: Mlp| assert!(config.graph([1, 28, 28], 10).is_err(), "{config:?}");
        refused(Mlp { hidden: vec![3, 0], ..Mlp::default() });
        refused(Mlp { hidden: vec![usize::MAX, 2], ..Mlp::default() });
        refused(Mlp { hidden: vec![1 << 20, 1 << 20], ..Mlp::default() });
        refused(Mlp { dropout: 1.0, ..Mlp::default() });
        refused(Mlp { input_dropout: f32::NAN, ..Mlp::default() });
        let images = random(Stream::new(2), &[5, 1, 27, 28]);
        let error = mnist(&[3]).forward(&images, Mode::Eval).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }));
    }
}
