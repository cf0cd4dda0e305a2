//! The convolution as an operation of a network.

use serde::{Deserialize, Serialize};

use super::Conv;
use crate::ops::onnx::{Operand, Operator};
use crate::ops::operation::{Checked, Init, Operation, ParamSpec, chw, n_windows};

/// Cross-correlation, as PyTorch's `conv2d`: parameters `weight` `(O, C/groups, kh, kw)` and, where
/// there is one, `bias` `(O,)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2d {
    /// Output channels, O.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Zeros above, to the left, below and to the right.
    pub padding: [usize; 4],
    /// Rows and columns from one tap to the next.
    pub dilation: [usize; 2],
    /// Groups of channels that do not meet.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// How the weight begins.
    pub weight_init: Init,
    /// How the bias begins.
    pub bias_init: Init,
}

impl Conv2d {
    /// Stride 1, no padding, one group, no bias, PyTorch's initial values.
    pub fn new(out_channels: usize, kernel: usize) -> Self {
        Self {
            out_channels,
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: [0; 4],
            dilation: [1; 2],
            groups: 1,
            bias: false,
            weight_init: Init::Pytorch,
            bias_init: Init::Pytorch,
        }
    }

    /// With this stride in both directions.
    pub fn stride(self, stride: usize) -> Self {
        Self { stride: [stride; 2], ..self }
    }

    /// With so many zeros on each side.
    pub fn padding(self, padding: usize) -> Self {
        Self { padding: [padding; 4], ..self }
    }

    /// With so many groups.
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// With a bias that begins so.
    pub fn bias(self, bias_init: Init) -> Self {
        Self { bias: true, bias_init, ..self }
    }

    /// With a weight that begins so.
    pub fn init(self, weight_init: Init) -> Self {
        Self { weight_init, ..self }
    }

    /// How its windows lie on the image.
    pub fn conv(&self) -> Conv {
        let Self { stride, padding, dilation, groups, .. } = *self;
        Conv { stride, padding, dilation, groups }
    }

    fn check(&self, channels: usize) -> Checked<()> {
        let sizes = [self.kernel, self.stride, self.dilation].concat();
        if sizes.contains(&0) || self.groups == 0 || self.out_channels == 0 {
            return Err("kernel, stride, dilation, groups and channels must be at least 1".into());
        }
        let whole = |n: usize| n.is_multiple_of(self.groups);
        if !whole(channels) || !whole(self.out_channels) {
            let (n_in, n_out, groups) = (channels, self.out_channels, self.groups);
            return Err(format!("{n_in} and {n_out} channels do not fall into {groups} groups"));
        }
        Ok(())
    }
}

impl Operation for Conv2d {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        let [channels, height, width] = chw(inputs[0])?;
        self.check(channels)?;
        let conv = self.conv();
        let side = |size: usize, axis: usize| {
            let reach = conv.reach(axis, self.kernel[axis])?;
            n_windows(size, conv.padding_of(axis), reach, self.stride[axis])
        };
        let sides = (side(height, 0), side(width, 1));
        match sides {
            (Some(height), Some(width)) => Ok(vec![self.out_channels, height, width]),
            _ => Err(format!("{height}x{width} pixels are fewer than the kernel's")),
        }
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        let operator = Operator::new("Conv").and(Operand::Param("weight"));
        let operator = operator
            .with_sizes("kernel_shape", &self.kernel)
            .with_sizes("strides", &self.stride)
            .with_sizes("pads", &self.padding)
            .with_sizes("dilations", &self.dilation)
            .with_int("group", self.groups as i64);
        vec![if self.bias { operator.and(Operand::Param("bias")) } else { operator }]
    }

    fn params(&self, inputs: &[&[usize]]) -> Vec<ParamSpec> {
        let [kh, kw] = self.kernel;
        let shape = [self.out_channels, inputs[0][0] / self.groups, kh, kw];
        let (fan_in, fan_out) = (shape[1] * kh * kw, shape[0] * kh * kw);
        let mut params = vec![ParamSpec::trained("weight", &shape, self.weight_init)];
        if self.bias {
            params.push(ParamSpec::trained("bias", &[self.out_channels], self.bias_init));
        }
        params.into_iter().map(|param| param.fans(fan_in, fan_out)).collect()
    }

    fn multiply_adds(&self, inputs: &[&[usize]], output: &[usize]) -> u64 {
        let window = self.kernel[0] * self.kernel[1] * (inputs[0][0] / self.groups);
        output.iter().product::<usize>() as u64 * window as u64
    }
}

impl Default for Conv2d {
    /// Sixteen 3x3 windows with margins.
    fn default() -> Self {
        Self::new(16, 3).padding(1)
    }
}
