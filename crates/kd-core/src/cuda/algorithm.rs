//! How cuDNN is told of a convolution's sizes, and what it can do.

use std::ffi::c_int;
use std::mem::zeroed;

use candle_core::cuda::cudarc::cudnn::result::{self, CudnnError};
use candle_core::cuda::cudarc::cudnn::sys::{
    self, cudnnConvolutionMode_t, cudnnDataType_t, cudnnDeterminism_t, cudnnMathType_t,
    cudnnStatus_t, cudnnTensorFormat_t,
};

use crate::ops::conv2d::geometry::Geometry;
use crate::precision::Precision;

type Result<T> = std::result::Result<T, CudnnError>;

/// Which of a convolution's three products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// The output from input and weights.
    Forward,
    /// The input's gradient from the output's and the weights.
    ToInput,
    /// The weights' gradient from the input and the output's gradient.
    ToWeight,
}

/// The descriptors of a convolution; never destroyed, as plans are kept while the program runs.
#[derive(Clone, Copy)]
pub(super) struct Shapes {
    pub(super) x: sys::cudnnTensorDescriptor_t,
    pub(super) weight: sys::cudnnFilterDescriptor_t,
    pub(super) y: sys::cudnnTensorDescriptor_t,
    pub(super) conv: sys::cudnnConvolutionDescriptor_t,
}

/// One of cuDNN's algorithms.
#[derive(Debug, Clone, Copy)]
pub(super) enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    ToInput(sys::cudnnConvolutionBwdDataAlgo_t),
    ToWeight(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// An algorithm, as cuDNN describes it.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) algorithm: Algorithm,
    pub(super) math: cudnnMathType_t,
    /// Bytes.
    pub(super) workspace: usize,
    is_supported: bool,
    is_repeatable: bool,
}

impl Choice {
    /// Whether it gives the same bits each time and computes as exactly as `precision` asks.
    pub(super) fn suits(&self, precision: Precision) -> bool {
        let is_exact = matches!(
            self.math,
            cudnnMathType_t::CUDNN_FMA_MATH | cudnnMathType_t::CUDNN_DEFAULT_MATH
        );
        self.is_supported && self.is_repeatable && (precision == Precision::Tf32 || is_exact)
    }
}

impl Shapes {
    pub(super) fn new(geometry: &Geometry, precision: Precision) -> Result<Self> {
        let int = |number: usize| number as c_int;
        let Geometry { n, size, out_size, channels, out_channels, kernel, conv, .. } = *geometry;
        let format = cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        let float = cudnnDataType_t::CUDNN_DATA_FLOAT;
        let shapes = Self {
            x: result::create_tensor_descriptor()?,
            weight: result::create_filter_descriptor()?,
            y: result::create_tensor_descriptor()?,
            conv: result::create_convolution_descriptor()?,
        };
        let (padding, stride, dilation) =
            (conv.padding.map(int), conv.stride.map(int), conv.dilation.map(int));
        let in_dims = [n, channels, size[0], size[1]].map(int);
        let out_dims = [n, out_channels, out_size[0], out_size[1]].map(int);
        let weight_dims = [out_channels, channels / conv.groups, kernel[0], kernel[1]].map(int);
        let mode = cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        #[expect(unsafe_code, reason = "cuDNN is foreign code")]
        // SAFETY: the descriptors are new.
        unsafe {
            result::set_tensor4d_descriptor(shapes.x, format, float, in_dims)?;
            result::set_tensor4d_descriptor(shapes.y, format, float, out_dims)?;
            result::set_filter4d_descriptor(shapes.weight, float, format, weight_dims)?;
            result::set_convolution2d_descriptor(
                shapes.conv,
                padding[0],
                padding[1],
                stride[0],
                stride[1],
                dilation[0],
                dilation[1],
                mode,
                float,
            )?;
            result::set_convolution_group_count(shapes.conv, int(conv.groups))?;
        }
        shapes.set_math(match precision {
            Precision::F32 => cudnnMathType_t::CUDNN_FMA_MATH,
            Precision::Tf32 => cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        })?;
        Ok(shapes)
    }

    pub(super) fn set_math(&self, math: cudnnMathType_t) -> Result<()> {
        #[expect(unsafe_code, reason = "cuDNN is foreign code")]
        // SAFETY: the descriptor is never destroyed.
        unsafe {
            result::set_convolution_math_type(self.conv, math)
        }
    }
}

/// Algorithms that cuDNN is asked about at most.
const MAX: usize = 8;

/// What cuDNN can do, the fastest by its own estimate first.
pub(super) fn algorithms(
    handle: sys::cudnnHandle_t,
    direction: Direction,
    shapes: &Shapes,
) -> Result<Vec<Choice>> {
    match direction {
        Direction::Forward => forward(handle, shapes),
        Direction::ToInput => to_input(handle, shapes),
        Direction::ToWeight => to_weight(handle, shapes),
    }
}

/// A [`Choice`] from one of cuDNN's three structs, whose fields are the same.
macro_rules! choice {
    ($from:expr, $kind:path) => {
        Choice {
            algorithm: $kind($from.algo),
            math: $from.mathType,
            workspace: $from.memory,
            is_supported: $from.status == cudnnStatus_t::CUDNN_STATUS_SUCCESS,
            is_repeatable: $from.determinism == cudnnDeterminism_t::CUDNN_DETERMINISTIC,
        }
    };
}

fn forward(handle: sys::cudnnHandle_t, shapes: &Shapes) -> Result<Vec<Choice>> {
    let Shapes { x, weight, y, conv } = *shapes;
    let mut n: c_int = 0;
    #[expect(unsafe_code, reason = "cuDNN is foreign code")]
    // SAFETY: zeros are a valid entry; the descriptors are set; at most MAX entries are written.
    let list = unsafe {
        let mut list: [sys::cudnnConvolutionFwdAlgoPerf_t; MAX] = zeroed();
        let (to, max) = (list.as_mut_ptr(), MAX as c_int);
        result::get_convolution_forward_algorithm(handle, x, weight, conv, y, max, &mut n, to)?;
        list
    };
    Ok(list.iter().take(n as usize).map(|one| choice!(one, Algorithm::Forward)).collect())
}

fn to_input(handle: sys::cudnnHandle_t, shapes: &Shapes) -> Result<Vec<Choice>> {
    let Shapes { x, weight, y, conv } = *shapes;
    let mut n: c_int = 0;
    #[expect(unsafe_code, reason = "cuDNN is foreign code")]
    // SAFETY: as in `forward`.
    let list = unsafe {
        let mut list: [sys::cudnnConvolutionBwdDataAlgoPerf_t; MAX] = zeroed();
        let (to, max) = (list.as_mut_ptr(), MAX as c_int);
        result::get_convolution_backward_data_algorithm(
            handle, weight, y, conv, x, max, &mut n, to,
        )?;
        list
    };
    Ok(list.iter().take(n as usize).map(|one| choice!(one, Algorithm::ToInput)).collect())
}

fn to_weight(handle: sys::cudnnHandle_t, shapes: &Shapes) -> Result<Vec<Choice>> {
    let Shapes { x, weight, y, conv } = *shapes;
    let mut n: c_int = 0;
    #[expect(unsafe_code, reason = "cuDNN is foreign code")]
    // SAFETY: as in `forward`.
    let list = unsafe {
        let mut list: [sys::cudnnConvolutionBwdFilterAlgoPerf_t; MAX] = zeroed();
        let (to, max) = (list.as_mut_ptr(), MAX as c_int);
        result::get_convolution_backward_filter_algorithm(
            handle, x, y, conv, weight, max, &mut n, to,
        )?;
        list
    };
    Ok(list.iter().take(n as usize).map(|one| choice!(one, Algorithm::ToWeight)).collect())
}
