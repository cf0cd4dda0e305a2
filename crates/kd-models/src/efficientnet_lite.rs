//! EfficientNet-Lite.

use kd_core::ops::{Add, BatchNorm, Clip, Conv2d, Init, Linear};
use kd_core::{Graph, Result};
use serde::{Deserialize, Serialize};

use crate::layers::{checked, dropout, global_pool};
use crate::{ModelSpec, Network};

/// EfficientNet-Lite0 (Tan, Le 2019, arXiv:1905.11946, without squeeze-and-excitation and with
/// ReLU6, as Google published it for mobile processors), with the parameter names of timm's
/// `tf_efficientnet_lite0`: `conv_stem`, `blocks.1.0.conv_pw`, `classifier`.
///
/// Padding is TensorFlow's: where a stride leaves an odd number of zeros, the odd one lies below
/// and to the right, so the network depends on the size of its images. Initial values are
/// TensorFlow's: N(0, 2 / fan_out) with the fan of one group, biases 0; the linear layer's weight,
/// which is uniform there, has PyTorch's. Batch norm has timm's eps 0.001 and momentum 0.1.
///
/// Features: `stem`, `blocks.1.1.add`, `blocks.2.1.add`, `blocks.4.2.add`, `head`, `pool` and
/// others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EfficientNetLite {
    /// Probability with which a pooled value is dropped in training, in `[0, 1)`.
    pub dropout: f32,
}

impl Default for EfficientNetLite {
    /// The paper's dropout.
    fn default() -> Self {
        Self { dropout: 0.2 }
    }
}

const NORM: BatchNorm = BatchNorm { eps: 1e-3, momentum: 0.1 };
const STEM: usize = 32;
const LAST: usize = 1280;

/// Blocks of one kind, a row of the paper's table 1.
struct Row {
    /// Channels within a block, per channel of its input.
    expansion: usize,
    /// Side of its windows.
    kernel: usize,
    /// Stride of the first one.
    stride: usize,
    /// Output channels.
    channels: usize,
    /// How many.
    n: usize,
}

fn table() -> [Row; 7] {
    let row =
        |(expansion, kernel, stride, channels, n)| Row { expansion, kernel, stride, channels, n };
    [
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    ]
    .map(row)
}

impl Network for EfficientNetLite {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        let mut net = Graph::new(image_shape);
        let stem = same_padding(&net, Conv2d::new(STEM, 3).stride(2))?.init(Init::KaimingFanOut);
        conv_norm_relu6(&mut net, ["conv_stem", "bn1", "stem"], stem);
        let mut n_in = STEM;
        for (i, row) in table().iter().enumerate() {
            for j in 0..row.n {
                let stride = if j == 0 { row.stride } else { 1 };
                block(&mut net, &format!("blocks.{i}.{j}"), row, (n_in, stride))?;
                n_in = row.channels;
            }
        }
        conv_norm_relu6(&mut net, ["conv_head", "bn2", "head"], pointwise(LAST));
        global_pool(&mut net);
        dropout(&mut net, "dropout", self.dropout, None);
        net.then("classifier", Linear::new(n_classes).init(Init::Pytorch, Init::Zeros));
        checked(net)
    }

    fn usual_data(&self) -> ([usize; 3], usize) {
        ([3, 224, 224], 1000)
    }

    /// `efficientnet-lite0`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        (name == self.short_name()).then_some(ModelSpec::EfficientNetLite(Self::default()))
    }

    fn short_name(&self) -> String {
        "efficientnet-lite0".into()
    }
}

fn conv_norm_relu6(net: &mut Graph, [conv, norm, relu]: [&str; 3], op: Conv2d) {
    net.then(conv, op);
    net.then(norm, NORM);
    net.then(relu, Clip::default());
}

fn pointwise(n_out: usize) -> Conv2d {
    Conv2d::new(n_out, 1).init(Init::KaimingFanOut)
}

fn depthwise(net: &Graph, n: usize, kernel: usize, stride: usize) -> Result<Conv2d> {
    let std = (2.0 / (kernel * kernel) as f64).sqrt();
    let conv = Conv2d::new(n, kernel).stride(stride).groups(n).init(Init::Normal(std));
    same_padding(net, conv)
}

/// TensorFlow's padding `SAME`: an output of `ceil(size / stride)` pixels, an odd zero at the end.
fn same_padding(net: &Graph, conv: Conv2d) -> Result<Conv2d> {
    let shapes = net.shapes()?;
    let n_zeros = |axis: usize| {
        let size = shapes.get(&net.output).get(axis + 1).copied().unwrap_or(1);
        let (kernel, stride) = (conv.kernel[axis], conv.stride[axis]);
        ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size)
    };
    let (rows, columns) = (n_zeros(0), n_zeros(1));
    let padding = [rows / 2, columns / 2, rows.div_ceil(2), columns.div_ceil(2)];
    Ok(Conv2d { padding, ..conv })
}

/// 1x1 to more channels (but in the first block), windows of each channel alone, 1x1 to fewer, and
/// the sum with the input where sizes are equal.
fn block(net: &mut Graph, name: &str, row: &Row, (n_in, stride): (usize, usize)) -> Result<()> {
    let at = |part: &str| format!("{name}.{part}");
    let (x, wide) = (net.output.clone(), row.expansion * n_in);
    let expands = row.expansion > 1;
    if expands {
        conv_norm_relu6(net, [&at("conv_pw"), &at("bn1"), &at("relu1")], pointwise(wide));
    }
    // timm numbers the norms of a block from 1 and calls the last convolution after the others.
    let (norms, last) =
        if expands { (["bn2", "bn3"], "conv_pwl") } else { (["bn1", "bn2"], "conv_pw") };
    let conv = depthwise(net, wide, row.kernel, stride)?;
    conv_norm_relu6(net, [&at("conv_dw"), &at(norms[0]), &at("relu2")], conv);
    net.then(at(last), pointwise(row.channels));
    let y = net.then(at(norms[1]), NORM);
    if stride == 1 && n_in == row.channels {
        net.push(at("add"), Add {}, &[&x, &y]);
    }
    Ok(())
}
