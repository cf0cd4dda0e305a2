//! The operators that are understood: one line each.

use super::constant::{Checked, Constant};
use super::convert::builder::Builder;
use super::convert::{activation, arithmetic, conv, linear, norm, pool, shape};
use super::dims;
use super::eval::{self, elementwise};
use super::scope::Scope;

/// What is known of an operator.
#[derive(Clone, Copy)]
pub(super) struct Operator {
    pub(super) name: &'static str,
    /// Those that are understood; others are refused.
    pub(super) attributes: &'static [&'static str],
    /// Its output, where all inputs are known.
    pub(super) eval: Option<fn(&Scope<'_>) -> Checked<Constant>>,
    /// What it does to activations.
    pub(super) on_images: Option<OnImages>,
}

/// What an operator does to activations.
#[derive(Clone, Copy)]
pub(super) struct OnImages {
    /// Shape of the first output.
    pub(super) dims: fn(&Scope<'_>) -> Checked<Vec<usize>>,
    /// Adds it to the graph.
    pub(super) convert: fn(&mut Builder, &Scope<'_>) -> Checked<()>,
}

/// An operator on constants only.
const fn constant(
    name: &'static str,
    attributes: &'static [&'static str],
    eval: fn(&Scope<'_>) -> Checked<Constant>,
) -> Operator {
    Operator { name, attributes, eval: Some(eval), on_images: None }
}

/// An operator on activations only.
const fn images(
    name: &'static str,
    attributes: &'static [&'static str],
    dims: fn(&Scope<'_>) -> Checked<Vec<usize>>,
    convert: fn(&mut Builder, &Scope<'_>) -> Checked<()>,
) -> Operator {
    Operator { name, attributes, eval: None, on_images: Some(OnImages { dims, convert }) }
}

impl Operator {
    /// It computes with constants too.
    const fn or(self, eval: fn(&Scope<'_>) -> Checked<Constant>) -> Self {
        Self { eval: Some(eval), ..self }
    }
}

/// Names that begin with `kd.` are what patterns of several operators become.
const OPERATORS: &[Operator] = &[
    images("Add", &[], dims::broadcast, arithmetic::add).or(elementwise::binary),
    images("AveragePool", pool::ATTRIBUTES, dims::pool, pool::average),
    images("BatchNormalization", norm::BATCH, dims::same, norm::batch),
    images("Cast", &["to", "saturate"], dims::same, shape::cast).or(eval::cast),
    constant("Ceil", &[], elementwise::unary),
    images("Clip", &["min", "max"], dims::same, activation::clip).or(elementwise::clip),
    images("Concat", &["axis"], dims::concat, shape::concat).or(eval::concat),
    constant("CastLike", &["saturate"], eval::cast_like),
    constant("Constant", eval::CONSTANT, eval::constant),
    constant("ConstantOfShape", &["value"], eval::constant_of_shape),
    images("Conv", conv::ATTRIBUTES, dims::conv, conv::convert),
    images("DequantizeLinear", &["axis"], dims::same, activation::part_of_quantize)
        .or(eval::dequantize),
    images("Div", &[], dims::broadcast, arithmetic::div).or(elementwise::binary),
    images("Dropout", &["ratio", "seed"], dims::same, activation::dropout),
    constant("Equal", &[], elementwise::binary),
    images("Erf", &[], dims::same, activation::part_of_gelu),
    constant("Expand", &[], eval::expand),
    images("Flatten", &["axis"], dims::reshape, shape::reshape).or(eval::reshape),
    constant("Floor", &[], elementwise::unary),
    images("Gather", &["axis"], dims::gather, shape::gather).or(eval::gather),
    images("Gelu", &["approximate"], dims::same, activation::gelu),
    images("Gemm", linear::GEMM, dims::gemm, linear::gemm),
    images("GlobalAveragePool", &[], dims::global_pool, pool::global),
    images("HardSigmoid", &["alpha", "beta"], dims::same, activation::hard_sigmoid),
    images("HardSwish", &[], dims::same, activation::hard_swish),
    images("Identity", &[], dims::same, shape::alias).or(eval::identity),
    images("LayerNormalization", norm::LAYER, dims::same, norm::layer),
    images("LeakyRelu", &["alpha"], dims::same, activation::leaky_relu),
    images("MatMul", &[], dims::mat_mul, linear::mat_mul),
    images("MaxPool", pool::ATTRIBUTES, dims::pool, pool::max),
    images("Mul", &[], dims::broadcast, arithmetic::mul).or(elementwise::binary),
    constant("Neg", &[], elementwise::unary),
    images("Pad", &["mode", "pads", "value"], dims::pad, shape::pad),
    images("Pow", &[], dims::broadcast, activation::part_of_layer_norm).or(elementwise::binary),
    constant("Range", &[], eval::range),
    images("QuantizeLinear", &["axis"], dims::same, activation::part_of_quantize),
    images("ReduceMean", pool::REDUCE, dims::reduce, pool::reduce_mean),
    images("Relu", &[], dims::same, activation::relu),
    images("Reshape", &["allowzero"], dims::reshape, shape::reshape).or(eval::reshape),
    constant("Shape", &["start", "end"], eval::shape),
    images("Sigmoid", &[], dims::same, activation::sigmoid),
    constant("Size", &[], eval::size),
    images("Slice", &["starts", "ends", "axes"], dims::slice, shape::slice).or(eval::slice),
    images("Softmax", &["axis", "kd.temperature"], dims::same, activation::softmax),
    images("Sqrt", &[], dims::same, activation::part_of_layer_norm).or(elementwise::unary),
    images("Squeeze", &["axes"], dims::reshape, shape::reshape).or(eval::reshape),
    images("Sub", &[], dims::broadcast, arithmetic::sub).or(elementwise::binary),
    images("Transpose", &["perm"], dims::transpose, shape::transpose).or(eval::transpose),
    images("Unsqueeze", &["axes"], dims::reshape, shape::reshape).or(eval::reshape),
    constant("Where", &[], eval::select),
    images("kd.ChannelShuffle", &["groups"], dims::same, shape::channel_shuffle),
    images("kd.Quantize", &["scale", "zero_point"], dims::same, activation::quantize),
    images("kd.Silu", &[], dims::same, activation::silu),
];

/// The operator `name`.
///
/// # Errors
/// That it is not supported, and which are.
pub(super) fn operator(name: &str) -> Checked<Operator> {
    let found = OPERATORS.iter().find(|operator| operator.name == name);
    found.copied().ok_or_else(|| format!("is not supported; supported are {}", names().join(", ")))
}

/// Names that may stand in a file.
pub(super) fn names() -> Vec<&'static str> {
    let split = ["SequenceAt", "Split", "SplitToSequence"];
    let all = OPERATORS.iter().map(|operator| operator.name).chain(split);
    let mut names: Vec<_> = all.filter(|name| !name.contains('.')).collect();
    names.sort_unstable();
    names
}
