//! Fused operations on candle tensors, each with a proven backward.
//!
//! One operation, one folder: `mod.rs` has the public function, its equation and the candle custom
//! operation; `cpu.rs` the arithmetic on slices, dispatched at run time to AVX-512, AVX2 or scalar
//! code. Gradients of untracked arguments are never computed.

mod activation;
mod add;
pub(crate) mod affine;
pub(crate) mod batch_norm;
mod channel_shuffle;
pub(crate) mod channels;
mod concat;
pub(crate) mod conv2d;
pub mod crop;
pub(crate) mod deposit;
pub(crate) mod dropout;
mod flatten;
pub(crate) mod lanes;
mod layer_norm;
pub(crate) mod layout;
pub(crate) mod linear;
mod mul;
mod normalize;
mod objective;
pub mod onnx;
pub(crate) mod operation;
mod optimizer;
mod pool;
mod slice_channels;
pub mod slices;
mod softmax;
pub(crate) mod source;
#[expect(unreachable_pub, reason = "operations are implemented in this crate only")]
pub(crate) mod step;
pub(crate) mod strips;
mod subsample_pad;
pub(crate) mod transpose;

pub use activation::{
    Clip, Gelu, HardSigmoid, HardSwish, LeakyRelu, Quantize, Relu, Sigmoid, Silu,
};
pub use add::Add;
pub use batch_norm::{BatchNorm, BatchStats};
pub use channel_shuffle::ChannelShuffle;
pub use concat::Concat;
pub use conv2d::{Conv, Conv2d, ConvSums};
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use layer_norm::LayerNorm;
pub use linear::{Activation, Linear};
pub use mul::Mul;
pub use normalize::Normalize;
pub use objective::{
    Count, Counted, Reduction, SoftTargets, check_soft, check_temperature, cross_entropy,
    cross_entropy_at, distillation,
};
pub use operation::{Checked, Init, Operation, ParamSpec};
pub use optimizer::{Adam, Moments, OptimizerSpec, Rule, Sgd};
pub use pool::{AvgPool, GlobalAvgPool, MaxPool};
pub use slice_channels::SliceChannels;
pub use softmax::Softmax;
pub use subsample_pad::SubsamplePad;

crate::registry! {
    /// An operation of a network.
    pub enum Op: dyn Operation {
        "normalize" => Normalize(Normalize),
        "conv2d" => Conv2d(Conv2d),
        "batch-norm" => BatchNorm(BatchNorm),
        "layer-norm" => LayerNorm(LayerNorm),
        "linear" => Linear(Linear),
        "relu" => Relu(Relu),
        "leaky-relu" => LeakyRelu(LeakyRelu),
        "clip" => Clip(Clip),
        "hard-sigmoid" => HardSigmoid(HardSigmoid),
        "hard-swish" => HardSwish(HardSwish),
        "sigmoid" => Sigmoid(Sigmoid),
        "silu" => Silu(Silu),
        "gelu" => Gelu(Gelu),
        "quantize" => Quantize(Quantize),
        "softmax" => Softmax(Softmax),
        "add" => Add(Add),
        "mul" => Mul(Mul),
        "concat" => Concat(Concat),
        "slice-channels" => SliceChannels(SliceChannels),
        "channel-shuffle" => ChannelShuffle(ChannelShuffle),
        "subsample-pad" => SubsamplePad(SubsamplePad),
        "max-pool" => MaxPool(MaxPool),
        "avg-pool" => AvgPool(AvgPool),
        "global-avg-pool" => GlobalAvgPool(GlobalAvgPool),
        "flatten" => Flatten(Flatten),
        "dropout" => Dropout(Dropout),
    }
}

#[cfg(test)]
mod cuda_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod op_tests;
#[cfg(test)]
pub(crate) mod runner;
