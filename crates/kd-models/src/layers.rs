//! What the families share: short ways to write a few nodes, and residual blocks.

use kd_core::ops::{
    Add, BatchNorm, Conv2d, Dropout, Flatten, GlobalAvgPool, Init, Linear, Op, Relu, SubsamplePad,
};
use kd_core::{Graph, Result};

/// A 3x3 convolution that keeps the size of an image, or halves it with stride 2.
pub(crate) fn conv3x3(n_out: usize, stride: usize) -> Conv2d {
    Conv2d::new(n_out, 3).stride(stride).padding(1)
}

/// A 3x3 convolution of each of `n` channels alone.
pub(crate) fn depthwise3x3(n: usize, stride: usize) -> Conv2d {
    conv3x3(n, stride).groups(n)
}

/// Nodes one after the other, numbered as in PyTorch's `Sequential`: `NAME.0`, `NAME.1`, ...
pub(crate) fn sequential<const N: usize>(net: &mut Graph, name: &str, ops: [Op; N]) {
    for (i, op) in ops.into_iter().enumerate() {
        net.then(format!("{name}.{i}"), op);
    }
}

/// A convolution, its batch norm and ReLU.
pub(crate) fn conv_norm_relu(net: &mut Graph, [conv, norm, relu]: [&str; 3], op: Conv2d) {
    net.then(conv, op);
    net.then(norm, BatchNorm::default());
    net.then(relu, Relu {});
}

/// Dropout with the random stream number `stream` of a step, where there is any dropout; a probability that is none is
/// refused with the network's shapes.
pub(crate) fn dropout(net: &mut Graph, name: &str, p: f32, stream: Option<u64>) {
    if p != 0.0 {
        net.then(name, Dropout { p, stream });
    }
}

/// Names the last node, which must have no parameters, after the stage that ends with it.
pub(crate) fn end_stage(net: &mut Graph, name: &str) {
    if let Some(node) = net.nodes.last_mut() {
        name.clone_into(&mut node.name);
        name.clone_into(&mut net.output);
    }
}

/// The mean over all pixels, as the vector `pool`.
pub(crate) fn global_pool(net: &mut Graph) {
    net.then("pool.mean", GlobalAvgPool {});
    net.then("pool", Flatten {});
}

/// [`global_pool`] and a linear layer to the logits.
///
/// # Errors
/// Those of [`checked`]: the images do not fit the network.
pub(crate) fn pool_and_head(mut net: Graph, name: &str, head: Linear) -> Result<Graph> {
    global_pool(&mut net);
    net.then(name, head);
    checked(net)
}

/// The network, whose nodes fit each other.
///
/// # Errors
/// Those of [`Graph::shapes`].
pub(crate) fn checked(net: Graph) -> Result<Graph> {
    net.shapes()?;
    Ok(net)
}

/// A residual block of He et al. 2016 (arXiv:1512.03385) and its place.
pub(crate) struct Block {
    /// Its name, such as `layer2.0`.
    pub(crate) name: String,
    /// Channels of its input.
    pub(crate) n_in: usize,
    /// Channels of its 3x3 convolutions.
    pub(crate) width: usize,
    /// Pixels from one window to the next where it shrinks the image: 1 or 2.
    pub(crate) stride: usize,
    /// How its convolutions begin.
    pub(crate) init: Init,
    /// How its input reaches its output where sizes differ.
    pub(crate) shortcut: Shortcut,
}

/// How a block's input reaches an output of another size.
#[derive(Clone, Copy)]
pub(crate) enum Shortcut {
    /// Every second pixel, between channels of zeros: option A.
    Pad,
    /// A 1x1 convolution `NAME.0` and its batch norm `NAME.1`: option B.
    Projection(&'static str),
}

impl Block {
    /// Output channels of a bottleneck per channel of its 3x3 convolution.
    pub(crate) const EXPANSION: usize = 4;

    /// Two 3x3 convolutions: `relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))`.
    pub(crate) fn basic(&self, net: &mut Graph) {
        let x = net.output.clone();
        self.conv_norm_relu(net, 1, conv3x3(self.width, self.stride));
        let y = net.output.clone();
        let shortcut = self.shortcut(net, &x, self.width);
        self.join(net, [&y, &shortcut], 2, conv3x3(self.width, 1));
    }

    /// 1x1, 3x3 and 1x1 convolutions, the last to four times as many channels. The stride is in the
    /// 3x3 convolution, as in torchvision ("ResNet v1.5"); He et al. have it in the first 1x1.
    pub(crate) fn bottleneck(&self, net: &mut Graph) {
        let x = net.output.clone();
        let n_out = Self::EXPANSION * self.width;
        self.conv_norm_relu(net, 1, Conv2d::new(self.width, 1));
        self.conv_norm_relu(net, 2, conv3x3(self.width, self.stride));
        let y = net.output.clone();
        let shortcut = self.shortcut(net, &x, n_out);
        self.join(net, [&y, &shortcut], 3, Conv2d::new(n_out, 1));
    }

    fn at(&self, part: &str, i: usize) -> String {
        format!("{}.{part}{i}", self.name)
    }

    fn conv_norm_relu(&self, net: &mut Graph, i: usize, op: Conv2d) {
        let names = ["conv", "bn", "relu"].map(|part| self.at(part, i));
        conv_norm_relu(net, names.each_ref().map(String::as_str), op.init(self.init));
    }

    /// The block's last convolution, of `y`, its sum with the shortcut, and ReLU.
    fn join(&self, net: &mut Graph, [y, shortcut]: [&str; 2], i: usize, op: Conv2d) {
        net.push(self.at("conv", i), op.init(self.init), &[y]);
        let y = net.then(self.at("bn", i), BatchNorm::default());
        net.push(format!("{}.add", self.name), Add {}, &[&y, shortcut]);
        net.then(self.at("relu", i), Relu {});
    }

    /// The name of what joins the output of `n_out` channels.
    fn shortcut(&self, net: &mut Graph, x: &str, n_out: usize) -> String {
        let Self { n_in, stride, .. } = *self;
        if stride == 1 && n_in == n_out {
            return x.into();
        }
        match self.shortcut {
            Shortcut::Pad => {
                let op = SubsamplePad { stride, n_zeros: (n_out - n_in) / 2 };
                net.push(format!("{}.shortcut", self.name), op, &[x])
            }
            Shortcut::Projection(name) => {
                let name = format!("{}.{name}", self.name);
                let op = Conv2d::new(n_out, 1).stride(stride).init(self.init);
                net.push(format!("{name}.0"), op, &[x]);
                net.then(format!("{name}.1"), BatchNorm::default())
            }
        }
    }
}
