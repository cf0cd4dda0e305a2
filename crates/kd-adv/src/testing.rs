//! Small networks, some with a known answer, and images for them; for this crate's tests.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::ops::{Flatten, Linear, Relu};
pub(crate) use kd_core::testing::numbers;
use kd_core::{Classifier, Graph, Mode, Net, Params, Result, Stream};
use serde_json::Value;

use crate::{Attack, Examples, Victim};

/// Shape of the images: few pixels, and more than one channel.
pub(crate) const SHAPE: [usize; 3] = [2, 3, 4];
/// Values of one image.
pub(crate) const N_PIXELS: usize = 24;

/// Linear layers with ReLU between them; with one layer, logits are `W x + b`.
pub(crate) struct Mlp {
    net: Net,
    /// What is done to the logits last.
    output: fn(&Tensor) -> candle_core::Result<Tensor>,
}

impl Mlp {
    /// Layers of `sizes` units, `sizes[0]` values going in and `sizes[n]` logits coming out, with
    /// random weights.
    pub(crate) fn new(sizes: &[usize], seed: u64) -> Self {
        // As many values as a test has, in whatever shape; channels only where they are known.
        let shape = if sizes[0] == N_PIXELS { SHAPE } else { [sizes[0], 1, 1] };
        let mut graph = Graph::new(shape);
        graph.then("flatten", Flatten {});
        for (i, n_units) in (1..).zip(&sizes[1..]) {
            if i > 1 {
                graph.then(format!("relu{i}"), Relu {});
            }
            graph.then(format!("fc{i}"), Linear::new(*n_units));
        }
        let net = Net::new(graph, Stream::new(seed), &Device::Cpu).unwrap();
        Self { net, output: |logits| Ok(logits.clone()) }
    }

    /// The same network, which normalizes its images of [`SHAPE`] first.
    pub(crate) fn normalized(self, mean: &[f32], std: &[f32]) -> Self {
        let graph = self.net.graph().clone().normalized(mean, std).unwrap();
        let net = Net::with_weights(graph, &self.net.params().tensors(), &Device::Cpu).unwrap();
        Self { net, ..self }
    }

    /// 24 values in, 30 hidden units, 5 classes; weights large enough for confident predictions.
    pub(crate) fn small(seed: u64) -> Self {
        let net = Self::new(&[N_PIXELS, 30, 5], seed);
        net.scaled(4.0)
    }

    /// `W x + b`; `weight` is `(K, P)` row-major, `bias` has K values.
    pub(crate) fn linear(weight: &[f32], bias: &[f32]) -> Self {
        let (k, n_pixels) = (bias.len(), weight.len() / bias.len());
        let net = Self::new(&[n_pixels, k], 0);
        let tensor = |values: &[f32], shape: &[usize]| {
            Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
        };
        let values = [
            ("fc1.weight".to_owned(), tensor(weight, &[k, n_pixels])),
            ("fc1.bias".to_owned(), tensor(bias, &[k])),
        ];
        net.net.params().load(&BTreeMap::from(values)).unwrap();
        net
    }

    /// Two layers with the given weights and biases, `(O, I)` row-major and `(O,)`.
    pub(crate) fn two_layers(weights: [&[f32]; 2], biases: [&[f32]; 2]) -> Self {
        let (n_hidden, k) = (biases[0].len(), biases[1].len());
        let net = Self::new(&[weights[0].len() / n_hidden, n_hidden, k], 0);
        let flat = weights.into_iter().chain(biases);
        let names = ["fc1.weight", "fc2.weight", "fc1.bias", "fc2.bias"];
        let values = names.into_iter().zip(flat).map(|(name, values)| {
            let shape = net.net.params().get(name).unwrap().var().dims();
            (name.to_owned(), Tensor::from_slice(values, shape, &Device::Cpu).unwrap())
        });
        net.net.params().load(&values.collect()).unwrap();
        net
    }

    /// Linear with random weights in `[-1, 1)` and K = `n_classes`; the bias makes all logits equal
    /// on a gray image.
    pub(crate) fn random_linear(n_classes: usize, seed: u64) -> Self {
        let mut rng = Stream::new(seed).rng();
        let n = n_classes * N_PIXELS;
        let weight: Vec<f32> = (0..n).map(|_| rng.uniform_in(-1.0, 1.0)).collect();
        let bias = weight.chunks_exact(N_PIXELS).map(|row| -0.5 * row.iter().sum::<f32>());
        Self::linear(&weight, &bias.collect::<Vec<_>>())
    }

    /// The same network with the weights and biases of its last layer multiplied by `factor`, and
    /// so its logits.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        let last = self.net.graph().output.clone() + ".";
        let mut values = self.net.params().tensors();
        for (name, value) in &mut values {
            // A copy: the values share memory with the parameters.
            let factor = if name.starts_with(&last) { factor } else { 1.0 };
            *value = (&*value * factor).unwrap();
        }
        self.net.params().load(&values).unwrap();
        self
    }

    /// The same network with `output` applied to its logits.
    pub(crate) fn with_output(self, output: fn(&Tensor) -> candle_core::Result<Tensor>) -> Self {
        Self { output, ..self }
    }

    /// The rows of the first layer's weights, one vector an output.
    pub(crate) fn weight_rows(&self) -> Vec<Vec<f32>> {
        self.net.params().get("fc1.weight").unwrap().constant().to_vec2().unwrap()
    }
}

impl Classifier for Mlp {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let [channels, height, width] = self.net.graph().image_shape;
        let images = images.reshape(((), channels, height, width))?;
        Ok((self.output)(&self.net.forward(&images, mode)?)?)
    }

    fn n_classes(&self) -> usize {
        self.net.n_classes()
    }

    fn params(&self) -> &Params {
        self.net.params()
    }
}

/// `model` on images of [`SHAPE`].
pub(crate) fn victim(model: &dyn Classifier) -> Victim<'_> {
    Victim::new(model, SHAPE, &Device::Cpu).unwrap()
}

/// `n` images of [`SHAPE`] with pixels in `[low, high)`, cut to `[0, 1]`, that the victim classifies
/// correctly.
pub(crate) fn examples(victim: &Victim<'_>, n: usize, (low, high): (f32, f32)) -> Examples {
    let mut rng = Stream::new(77).rng();
    let pixels = (0..n * N_PIXELS).map(|_| rng.uniform_in(low, high).clamp(0.0, 1.0));
    let pixels: Vec<f32> = pixels.collect();
    let labels = predictions(victim, &pixels);
    let indices = (0..n as u32).map(|i| 1000 + 7 * i).collect();
    Examples { pixels, labels, indices, targets: None }
}

/// The examples with the class after each label as its target.
pub(crate) fn targeted(mut examples: Examples, n_classes: usize) -> Examples {
    let next = |label: &u32| (label + 1) % n_classes as u32;
    examples.targets = Some(examples.labels.iter().map(next).collect());
    examples
}

/// The class with the largest logit, for each image.
pub(crate) fn predictions(victim: &Victim<'_>, pixels: &[f32]) -> Vec<u32> {
    let logits = victim.logits(pixels).unwrap();
    logits
        .chunks_exact(victim.n_classes())
        .map(|row| crate::objective::order(row)[0] as u32)
        .collect()
}

/// Which examples `adversarial` succeeds on.
pub(crate) fn successes(
    victim: &Victim<'_>,
    examples: &Examples,
    adversarial: &[f32],
) -> Vec<bool> {
    let predictions = predictions(victim, adversarial);
    let success = |(i, class): (usize, &u32)| examples.succeeds(i, *class as usize);
    predictions.iter().enumerate().map(success).collect()
}

/// Checks that `attack` makes the same images of these rows of `examples` without the others; returns
/// all its images.
pub(crate) fn check_rows_alone(
    attack: &dyn Attack,
    victim: &Victim<'_>,
    examples: &Examples,
    rows: &[usize],
) -> Vec<f32> {
    let run = |examples: &Examples| attack.run(victim, examples, Stream::new(4)).unwrap();
    let (all, few) = (run(examples), run(&examples.select(rows)));
    for (&i, image) in rows.iter().zip(few.chunks_exact(victim.n_pixels())) {
        assert_eq!(bits(image), bits(&all[i * image.len()..][..image.len()]));
    }
    all
}

/// The bits of `values`, for comparisons that must be exact.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A file of golden values, made by an independent implementation (`tests/golden`).
pub(crate) fn golden(name: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/");
    serde_json::from_str(&std::fs::read_to_string(format!("{path}{name}")).unwrap()).unwrap()
}

/// The same in single precision.
pub(crate) fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|x| x as f32).collect()
}
