//! What the convolutional networks share: stages that run one after the other, and a linear layer.
//!
//! Between the stages activations are `(N, H, W, C)`, the layout of kd-core's operations; pooled
//! or flattened ones are `(N, C)`.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::ops::{Activation, Pool, nhwc};
use kd_core::{
    Act, BatchNorm2d, Classifier, Conv2d, ConvNorm, ConvSpec, Error, Linear, Mode, Params, Result,
    Stream, Tape, taped,
};

/// A part of a network, from one activation to the next.
pub(crate) trait Block: Send + Sync {
    /// The next activation.
    fn record(&self, tape: &mut Tape, x: &Act) -> Result<Act>;
}

/// The blocks that are one operation.
pub(crate) enum Layer {
    /// `conv(x)`
    Conv(Conv2d),
    /// `relu(conv(x))`
    ConvRelu(Conv2d),
    /// `relu(bn(conv(x)))`
    ConvNormRelu(ConvNorm),
    /// `relu(bn(x))`
    NormRelu(BatchNorm2d),
    /// The maximum of each window.
    MaxPool(Pool),
    /// The mean over height and width: `(N, H, W, C)` -> `(N, C)`.
    GlobalAvgPool,
    /// `(N, H, W, C)` -> `(N, C*H*W)`, in PyTorch's order.
    Flatten,
    /// `dropout(relu(linear(x)))`, with the probability with which a unit is dropped in training.
    LinearRelu(Linear, f32),
}

impl Block for Layer {
    fn record(&self, tape: &mut Tape, x: &Act) -> Result<Act> {
        let mode = tape.mode();
        match self {
            Self::Conv(conv) => conv.record(tape, x, false),
            Self::ConvRelu(conv) => conv.record(tape, x, true),
            Self::ConvNormRelu(conv) => conv.record(tape, x, None, true),
            Self::NormRelu(norm) => norm.record(tape, x, None, true),
            Self::MaxPool(pool) => tape.max_pool2d(x, *pool),
            Self::GlobalAvgPool => tape.global_avg_pool(x),
            Self::Flatten => tape.flatten(x),
            Self::LinearRelu(linear, dropout) => linear.record(tape, x, activation(*dropout, mode)),
        }
    }
}

/// A network has at most one such layer with dropout, so the step's stream needs no number.
fn activation(p: f32, mode: Mode) -> Activation {
    match mode {
        Mode::Train(stream) if p > 0.0 => Activation::ReluDropout { p, stream },
        _ => Activation::Relu,
    }
}

/// A network under construction.
pub(crate) struct Builder<'a> {
    params: Params,
    stages: Vec<Stage>,
    image_shape: [usize; 3],
    stream: Stream,
    device: &'a Device,
}

struct Stage {
    name: String,
    blocks: Vec<Box<dyn Block>>,
}

impl Stage {
    fn record(&self, tape: &mut Tape, mut x: Act) -> Result<Act> {
        for block in &self.blocks {
            x = block.record(tape, &x)?;
        }
        Ok(x)
    }
}

impl<'a> Builder<'a> {
    /// A network for images of `[C, H, W]`, without stages.
    pub(crate) fn new(image_shape: [usize; 3], stream: Stream, device: &'a Device) -> Result<Self> {
        if image_shape.contains(&0) {
            let reason = format!("{image_shape:?} has no pixels");
            return Err(Error::config("image_shape", reason));
        }
        Ok(Self { params: Params::default(), stages: Vec::new(), image_shape, stream, device })
    }

    /// Number of channels of the images.
    pub(crate) fn n_channels(&self) -> usize {
        self.image_shape[0]
    }

    /// Refuses images with a side below `side` pixels.
    pub(crate) fn at_least(&self, side: usize) -> Result<()> {
        let [_, height, width] = self.image_shape;
        if height.min(width) >= side {
            return Ok(());
        }
        let reason = format!("{height}x{width} is too small; at least {side}x{side} is needed");
        Err(Error::config("image_shape", reason))
    }

    /// A convolution.
    pub(crate) fn conv(&mut self, name: &str, spec: ConvSpec) -> Result<Conv2d> {
        Conv2d::new(&mut self.params, name, spec, self.stream, self.device)
    }

    /// A batch norm.
    pub(crate) fn norm(&mut self, name: &str, n_channels: usize) -> Result<BatchNorm2d> {
        BatchNorm2d::new(&mut self.params, name, n_channels, self.device)
    }

    /// A convolution and the batch norm of its output.
    pub(crate) fn conv_norm(&mut self, names: (&str, &str), spec: ConvSpec) -> Result<ConvNorm> {
        ConvNorm::new(&mut self.params, names, spec, self.stream, self.device)
    }

    /// A linear layer with PyTorch's default initial values.
    pub(crate) fn linear(&mut self, name: &str, sizes: (usize, usize)) -> Result<Linear> {
        Linear::new(&mut self.params, name, sizes, self.stream, self.device)
    }

    /// Draws the parameter `name` again, from N(0, std²).
    pub(crate) fn draw_normal(&self, name: &str, std: f64) -> Result<()> {
        let mut rng = self.stream.at(name).rng();
        self.set(name, |_| (std * f64::from(rng.normal())) as f32)
    }

    /// Sets the parameter `name` to zero.
    pub(crate) fn zero(&self, name: &str) -> Result<()> {
        self.set(name, |_| 0.0)
    }

    fn set(&self, name: &str, value: impl FnMut(usize) -> f32) -> Result<()> {
        let param = self.params.get(name).expect("the networks name their own parameters");
        let values: Vec<f32> = (0..param.var().elem_count()).map(value).collect();
        Ok(param.var().set(&Tensor::from_vec(values, param.var().shape(), self.device)?)?)
    }

    /// Adds a stage; its output is the feature `name`.
    pub(crate) fn stage(&mut self, name: &str, blocks: Vec<Box<dyn Block>>) {
        self.stages.push(Stage { name: name.into(), blocks });
    }

    /// The network, with `head` from the last stage's output to the logits.
    pub(crate) fn finish(self, head: Linear, n_classes: usize) -> Box<dyn Classifier> {
        let Self { params, stages, image_shape, .. } = self;
        Box::new(Staged { params, stages, head, image_shape, n_classes })
    }
}

/// A network of stages with a linear layer at its end.
struct Staged {
    params: Params,
    stages: Vec<Stage>,
    head: Linear,
    image_shape: [usize; 3],
    n_classes: usize,
}

impl Staged {
    /// The images in the order in which the stages compute.
    fn input(&self, images: &Tensor) -> Result<Tensor> {
        let [c, h, w] = self.image_shape;
        if images.dims().get(1..) != Some(&[c, h, w]) {
            return Err(Error::shape("images", format!("(N, {c}, {h}, {w})"), images.dims()));
        }
        nhwc(images)
    }

    fn head(&self, tape: &mut Tape, x: &Act) -> Result<Act> {
        self.head.record(tape, x, Activation::Identity)
    }
}

impl Classifier for Staged {
    /// One tape from the images to the logits.
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        taped(&self.input(images)?, mode, |tape, x| {
            let mut x = x.clone();
            for stage in &self.stages {
                x = stage.record(tape, x)?;
            }
            self.head(tape, &x)
        })
    }

    /// One tape for each stage, whose output is then a tensor of its own.
    fn features(&self, images: &Tensor, mode: Mode) -> Result<(Tensor, BTreeMap<String, Tensor>)> {
        let mut features = BTreeMap::new();
        let mut x = self.input(images)?;
        for stage in &self.stages {
            x = taped(&x, mode, |tape, x| stage.record(tape, x.clone()))?;
            features.insert(stage.name.clone(), x.clone());
        }
        Ok((taped(&x, mode, |tape, x| self.head(tape, x))?, features))
    }

    fn n_classes(&self) -> usize {
        self.n_classes
    }

    fn params(&self) -> &Params {
        &self.params
    }
}
