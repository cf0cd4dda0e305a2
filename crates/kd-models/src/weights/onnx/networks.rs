//! The networks as graphs: what their `forward` computes in evaluation, once more, for NCHW.
//!
//! Numbers of layers come from the names of the weights, so that only the order of operations is
//! said twice; `check_export.py` compares the logits.

use kd_core::Result;
use kd_core::ops::Pool;

use super::graph::{Graph, Value};
use crate::{ModelSpec, Stem};

const HALVE: Pool = Pool { kernel: 2, stride: 2, padding: 0 };

/// Adds the network `spec` for images `height` pixels high; gives its logits.
pub(super) fn network(
    graph: &mut Graph,
    spec: &ModelSpec,
    images: Value,
    height: usize,
) -> Result<Value> {
    match spec {
        ModelSpec::Mlp(_) => mlp(graph, images),
        ModelSpec::ResNet(net) => resnet(graph, images, net.stem),
        ModelSpec::CifarResNet(_) => cifar_resnet(graph, images),
        ModelSpec::WideResNet(_) => wide_resnet(graph, images),
        ModelSpec::Vgg(_) => vgg(graph, images, height),
        ModelSpec::Papernot(_) => papernot(graph, images),
    }
}

fn mlp(graph: &mut Graph, images: Value) -> Result<Value> {
    let mut x = graph.flatten(images, "flatten");
    let names = numbered(graph, |i| format!("fc{}", i + 1));
    for (i, name) in names.iter().enumerate() {
        x = graph.linear(x, name)?;
        if i + 1 < names.len() {
            x = graph.relu(x, name);
        }
    }
    Ok(x)
}

fn papernot(graph: &mut Graph, images: Value) -> Result<Value> {
    let mut x = images;
    for name in ["conv1", "conv2", "conv3", "conv4"] {
        x = graph.conv(x, name, (1, 0))?;
        x = graph.relu(x, name);
        if matches!(name, "conv2" | "conv4") {
            x = graph.max_pool(x, HALVE, &format!("{name}.pool"));
        }
    }
    x = graph.flatten(x, "flatten");
    for name in ["fc1", "fc2"] {
        x = graph.linear(x, name)?;
        x = graph.relu(x, name);
    }
    graph.linear(x, "fc3")
}

fn vgg(graph: &mut Graph, images: Value, height: usize) -> Result<Value> {
    let n_pools = if height == 64 { 4 } else { 3 };
    let mut x = images;
    for i in 0..5 {
        let block = format!("block{i}");
        if (1..=n_pools).contains(&i) {
            x = graph.max_pool(x, HALVE, &format!("{block}.pool"));
        }
        // In PyTorch's `Sequential`, convolution, batch norm and ReLU have a number each.
        for (j, conv) in numbered(graph, |j| format!("{block}.{}", 3 * j)).iter().enumerate() {
            x = graph.conv(x, conv, (1, 1))?;
            x = norm_relu(graph, x, &format!("{block}.{}", 3 * j + 1))?;
        }
    }
    head(graph, x, "classifier")
}

fn resnet(graph: &mut Graph, images: Value, stem: Stem) -> Result<Value> {
    let geometry = match stem {
        Stem::ImageNet => (2, 3),
        Stem::Cifar => (1, 1),
    };
    let mut x = conv_norm(graph, images, ("conv1", "bn1"), geometry)?;
    x = graph.relu(x, "bn1");
    if stem == Stem::ImageNet {
        x = graph.max_pool(x, Pool { kernel: 3, stride: 2, padding: 1 }, "maxpool");
    }
    for i in 1..=4 {
        x = residual_stage(graph, x, i, "downsample")?;
    }
    head(graph, x, "fc")
}

fn cifar_resnet(graph: &mut Graph, images: Value) -> Result<Value> {
    let mut x = conv_norm(graph, images, ("conv1", "bn1"), (1, 1))?;
    x = graph.relu(x, "bn1");
    for i in 1..=3 {
        x = residual_stage(graph, x, i, "shortcut")?;
    }
    head(graph, x, "linear")
}

/// The blocks `layerI.0`, `layerI.1`, ...; all stages but the first halve the image.
fn residual_stage(graph: &mut Graph, mut x: Value, i: usize, projection: &str) -> Result<Value> {
    let blocks = numbered_blocks(graph, &format!("layer{i}"));
    for (j, name) in blocks.iter().enumerate() {
        let stride = if i > 1 && j == 0 { 2 } else { 1 };
        x = residual_block(graph, x, (name, projection), stride)?;
    }
    Ok(x)
}

/// `relu(f(x) + shortcut(x))`, f being two 3x3 convolutions, or 1x1, 3x3 and 1x1 ones.
fn residual_block(
    graph: &mut Graph,
    x: Value,
    (name, projection): (&str, &str),
    stride: usize,
) -> Result<Value> {
    let is_bottleneck = graph.has(&format!("{name}.conv3.weight"));
    let geometries = match is_bottleneck {
        true => vec![(1, 0), (stride, 1), (1, 0)],
        false => vec![(stride, 1), (1, 1)],
    };
    let n = geometries.len();
    let mut y = x.clone();
    for (i, geometry) in (1..).zip(geometries) {
        let norm = format!("{name}.bn{i}");
        y = conv_norm(graph, y, (&format!("{name}.conv{i}"), &norm), geometry)?;
        if i < n {
            y = graph.relu(y, &norm);
        }
    }
    let shortcut = shortcut(graph, x, (name, projection), stride)?;
    let sum = graph.add(y, shortcut, &format!("{name}.add"));
    Ok(graph.relu(sum, name))
}

/// The projection where there is one (option B), else option A; most often the identity.
fn shortcut(
    graph: &mut Graph,
    x: Value,
    (name, projection): (&str, &str),
    stride: usize,
) -> Result<Value> {
    let (conv, norm) = (format!("{name}.{projection}.0"), format!("{name}.{projection}.1"));
    if graph.has(&format!("{conv}.weight")) {
        return conv_norm(graph, x, (&conv, &norm), (stride, 0));
    }
    let (n_out, n_in) = graph.channels(&format!("{name}.conv1"))?;
    if stride == 1 {
        return Ok(x);
    }
    let x = graph.subsample(x, stride, &format!("{name}.subsample"));
    Ok(graph.pad_channels(x, (n_out - n_in) / 2, &format!("{name}.pad")))
}

fn wide_resnet(graph: &mut Graph, images: Value) -> Result<Value> {
    let mut x = graph.conv(images, "conv1", (1, 1))?;
    for i in 1..=3 {
        for (j, name) in numbered_blocks(graph, &format!("block{i}.layer")).iter().enumerate() {
            let stride = if i > 1 && j == 0 { 2 } else { 1 };
            x = wide_block(graph, x, name, stride)?;
        }
    }
    x = norm_relu(graph, x, "bn1")?;
    head(graph, x, "fc")
}

/// Pre-activated: `shortcut(x) + conv2(relu(bn2(conv1(a))))` with `a = relu(bn1(x))`.
fn wide_block(graph: &mut Graph, x: Value, name: &str, stride: usize) -> Result<Value> {
    let at = |part: &str| format!("{name}.{part}");
    let active = norm_relu(graph, x.clone(), &at("bn1"))?;
    let y = graph.conv(active.clone(), &at("conv1"), (stride, 1))?;
    let y = norm_relu(graph, y, &at("bn2"))?;
    let y = graph.conv(y, &at("conv2"), (1, 1))?;
    let projection = at("convShortcut");
    let shortcut = match graph.has(&format!("{projection}.weight")) {
        true => graph.conv(active, &projection, (stride, 0))?,
        false => x,
    };
    Ok(graph.add(shortcut, y, &at("add")))
}

fn conv_norm(
    graph: &mut Graph,
    x: Value,
    (conv, norm): (&str, &str),
    geometry: (usize, usize),
) -> Result<Value> {
    let y = graph.conv(x, conv, geometry)?;
    graph.norm(y, norm)
}

fn norm_relu(graph: &mut Graph, x: Value, norm: &str) -> Result<Value> {
    let y = graph.norm(x, norm)?;
    Ok(graph.relu(y, norm))
}

fn head(graph: &mut Graph, x: Value, linear: &str) -> Result<Value> {
    let pooled = graph.global_average(x, "pool");
    graph.linear(pooled, linear)
}

/// The names `STAGE.0`, `STAGE.1`, ... of blocks that have a first convolution.
fn numbered_blocks(graph: &Graph, stage: &str) -> Vec<String> {
    let block = |j| format!("{stage}.{j}");
    (0..).map(block).take_while(|name| graph.has(&format!("{name}.conv1.weight"))).collect()
}

/// The names of layers, from number 0 on, as far as there are weights.
fn numbered(graph: &Graph, name: impl Fn(usize) -> String) -> Vec<String> {
    (0..).map(name).take_while(|name| graph.has(&format!("{name}.weight"))).collect()
}
