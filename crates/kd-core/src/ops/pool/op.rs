//! Pooling as operations of a network.

use serde::{Deserialize, Serialize};

use super::cpu::Windows;
use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation, chw, n_windows};
use crate::ops::step::{Backward, Forward};

/// The largest value of each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool {
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Pixels above, to the left, below and to the right, which are never the largest.
    pub padding: [usize; 4],
}

impl MaxPool {
    /// Square windows with this stride and so much padding on each side.
    pub fn new(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 4] }
    }

    pub(super) fn windows(&self, x: &[usize]) -> Windows {
        Windows::new(x, self.kernel, self.stride, self.padding)
    }
}

impl Default for MaxPool {
    fn default() -> Self {
        Self::new(2, 2, 0)
    }
}

impl Operation for MaxPool {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        out_shape(inputs[0], self.kernel, self.stride, self.padding)
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        vec![windows("MaxPool", self.kernel, self.stride, self.padding)]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        let (values, winners) = self.windows(x.dims()).max(&x.made().source());
        step.save(winners);
        // The largest of a ReLU's outputs is one itself, and where it is zero all are.
        Ok(Made::after(values, x.made().clamp()))
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let winners = step.saved::<Vec<u8>>()?;
        let x = step.input(0);
        let to_x = self.windows(x.dims()).max_backward(&grad, &winners);
        step.grads.add_through_clamp(x, to_x)
    }

    fn keeps_clamp(&self) -> bool {
        true
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Option<&dyn crate::ops::step::OnGpu> {
        Some(self)
    }
}

/// The mean of each window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AvgPool {
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Pixels above, to the left, below and to the right.
    pub padding: [usize; 4],
    /// Whether the padding counts as zeros, as by default in PyTorch; else the mean is that of the
    /// pixels within the image.
    pub count_padding: bool,
}

impl AvgPool {
    /// Square windows with this stride, no padding.
    pub fn new(kernel: usize, stride: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [0; 4], count_padding: true }
    }

    fn windows(&self, x: &[usize]) -> Windows {
        Windows::new(x, self.kernel, self.stride, self.padding)
    }
}

impl Default for AvgPool {
    fn default() -> Self {
        Self::new(2, 2)
    }
}

impl Operation for AvgPool {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        out_shape(inputs[0], self.kernel, self.stride, self.padding)
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        let operator = windows("AveragePool", self.kernel, self.stride, self.padding);
        vec![operator.with_int("count_include_pad", self.count_padding.into())]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        Ok(self.windows(x.dims()).mean(x.values(), self.count_padding).into())
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let windows = self.windows(step.input(0).dims());
        step.add(0, windows.mean_backward(grad, self.count_padding))
    }
}

/// The mean over all pixels: `[C, H, W]` -> `[C, 1, 1]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAvgPool {}

impl Operation for GlobalAvgPool {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        let [channels, ..] = chw(inputs[0])?;
        Ok(vec![channels, 1, 1])
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        vec![Operator::new("GlobalAveragePool")]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        Ok(Windows::whole(x.dims()).mean(x.values(), true).into())
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let windows = Windows::whole(step.input(0).dims());
        step.add(0, windows.mean_backward(grad, true))
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Option<&dyn crate::ops::step::OnGpu> {
        Some(self)
    }
}

/// A pool with windows as an operator of ONNX.
fn windows(
    op_type: &'static str,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
) -> Operator {
    let operator = Operator::new(op_type).with_sizes("kernel_shape", &kernel);
    operator.with_sizes("strides", &stride).with_sizes("pads", &padding)
}

/// The number of a winner within its window is kept in a byte.
const MAX_KERNEL: usize = 16;

fn out_shape(
    input: &[usize],
    kernel: [usize; 2],
    stride: [usize; 2],
    [top, left, bottom, right]: [usize; 4],
) -> Checked<Vec<usize>> {
    let [channels, height, width] = chw(input)?;
    let fits = |axis: usize, before: usize, after: usize| {
        (1..=MAX_KERNEL).contains(&kernel[axis])
            && stride[axis] > 0
            && before < kernel[axis]
            && after < kernel[axis]
    };
    if !fits(0, top, bottom) || !fits(1, left, right) {
        return Err(format!(
            "windows of {kernel:?} at {stride:?}: sides of 1 to {MAX_KERNEL} pixels, a stride of at \
             least 1 and less padding than the window are needed"
        ));
    }
    let sides = (
        n_windows(height, (top, bottom), kernel[0], stride[0]),
        n_windows(width, (left, right), kernel[1], stride[1]),
    );
    match sides {
        (Some(height), Some(width)) => Ok(vec![channels, height, width]),
        _ => Err(format!("{height}x{width} pixels are fewer than a window's")),
    }
}
