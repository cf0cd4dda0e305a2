//! How near each kernel comes to what the machine can do (the roofline of Williams et al. 2009).
//!
//! A kernel that computes `F` multiplications and additions and moves `B` bytes takes at least
//! `max(F / peak, B / bandwidth)`; its share of the roof is that of the time that it takes. Counted are plain sums,
//! and each input, output and weight once: sums with fewer multiplications may go beyond the roof, as may what
//! stays in a cache.

use std::io::Write;

use candle_core::Device;
use kd_core::machine::Machine;
use kd_core::ops::{BatchNorm, Conv2d, ConvSums, Flatten, GlobalAvgPool, Linear, MaxPool, Op};
use kd_core::{Classifier, Graph, Mode, Net, Result, Stream, testing};

use crate::cnn::clock;

/// Times that a layer which keeps its shape stands behind itself: what is at the border of a network, images in
/// another order, counts little then.
const CHAIN: usize = 8;
const N_SAMPLES: usize = 7;

/// An operation at a shape, `[C, H, W]` of so many images.
struct Kernel {
    name: &'static str,
    op: Op,
    shape: [usize; 3],
    n_images: usize,
    n_layers: usize,
    sums: ConvSums,
}

fn kernels() -> Vec<Kernel> {
    let kernel = |name, op: Op, [channels, side]: [usize; 2], n_images| {
        let (shape, n_layers, sums) = ([channels, side, side], CHAIN, ConvSums::Fast);
        Kernel { name, op, shape, n_images, n_layers, sums }
    };
    let conv = |channels, side, n_images| {
        let op = Conv2d::new(channels, 3).padding(1).into();
        kernel("conv 3x3", op, [channels, side], n_images)
    };
    let plain = |kernel| Kernel { name: "conv 3x3, plain sums", sums: ConvSums::Exact, ..kernel };
    let pointwise = |channels, side, n_images| {
        kernel("conv 1x1", Conv2d::new(channels, 1).into(), [channels, side], n_images)
    };
    let depthwise = |channels, side, n_images| {
        let op = Conv2d::new(channels, 3).padding(1).groups(channels).into();
        kernel("depthwise 3x3", op, [channels, side], n_images)
    };
    let first = |name, conv: Conv2d, side, n_images| {
        let kernel = kernel(name, conv.padding(1).into(), [3, side], n_images);
        Kernel { n_layers: 1, ..kernel }
    };
    let linear = |n_units| kernel("linear", Linear::new(n_units).into(), [n_units, 1], 128);
    vec![
        conv(16, 32, 128),
        conv(32, 16, 128),
        conv(64, 8, 128),
        conv(64, 32, 32),
        conv(128, 16, 32),
        conv(256, 8, 32),
        conv(512, 4, 32),
        plain(conv(16, 32, 128)),
        plain(conv(64, 32, 32)),
        plain(conv(512, 4, 32)),
        first("conv 3x3 to 64", Conv2d::new(64, 3), 32, 128),
        first("conv 3x3 to 32, stride 2", Conv2d::new(32, 3).stride(2), 224, 16),
        pointwise(16, 32, 128),
        pointwise(128, 16, 32),
        pointwise(512, 7, 32),
        depthwise(96, 56, 8),
        depthwise(480, 14, 32),
        linear(300),
        linear(1200),
        kernel("batch norm", BatchNorm::default().into(), [64, 32], 64),
        kernel("max pool 3x3", MaxPool::new(3, 1, 1).into(), [64, 32], 32),
    ]
}

impl Kernel {
    fn graph(&self) -> Graph {
        let mut graph = Graph::new(self.shape);
        if matches!(self.op, Op::Linear(_)) {
            graph.then("flatten", Flatten {});
        }
        (0..self.n_layers).for_each(|i| drop(graph.then(format!("layer{i}"), self.op.clone())));
        if !matches!(self.op, Op::Linear(_)) {
            graph.then("pool", GlobalAvgPool {});
            graph.then("flat", Flatten {});
        }
        graph
    }

    /// Seconds forward, as a frozen network, and of a whole step of training without an optimizer.
    fn seconds(&self) -> Result<[f64; 2]> {
        let net = Net::new(self.graph(), Stream::new(0), &Device::Cpu)?.with_conv_sums(self.sums);
        let [channels, height, width] = self.shape;
        let images = testing::random(Stream::new(1), &[self.n_images, channels, height, width]);
        let forward = || net.forward(&images, Mode::Eval).map(drop);
        let step = || {
            net.forward(&images, Mode::Train(Stream::new(0)))?.sum_all()?.backward()?;
            net.params().clear_grads();
            Ok(())
        };
        Ok([median(&forward)?, median(&step)?])
    }

    /// Multiplications and additions forward, and in a step: the first layer passes no gradient on.
    fn flops(&self) -> Result<[f64; 2]> {
        let n = 2.0 * self.n_images as f64 * self.graph().counts()?.multiply_adds as f64;
        Ok([n, n * (3.0 - 1.0 / self.n_layers as f64)])
    }

    /// Bytes of inputs, outputs and weights, each once forward and twice more for both gradients.
    fn bytes(&self) -> Result<[f64; 2]> {
        let graph = self.graph();
        let shapes = graph.shapes()?;
        let layers = graph.nodes.iter().filter(|node| node.op == self.op);
        let values = layers.map(|node| {
            let inputs = shapes.inputs(node).into_iter().chain([shapes.get(&node.name)]);
            inputs.map(|shape| shape.iter().product::<usize>()).sum::<usize>()
        });
        let n_values = self.n_images * values.sum::<usize>();
        let n = 4.0 * (n_values as f64 + graph.counts()?.parameters as f64);
        Ok([n, 3.0 * n])
    }

    fn rows(&self, machine: &Machine) -> Result<Vec<String>> {
        let (seconds, flops, bytes) = (self.seconds()?, self.flops()?, self.bytes()?);
        let [channels, height, width] = self.shape;
        let shape = format!("{} x {channels}x{height}x{width}", self.n_images);
        let row = |(i, pass): (usize, &str)| {
            let (gflops, gbytes) = (1e-9 * flops[i] / seconds[i], 1e-9 * bytes[i] / seconds[i]);
            let share = (gflops / machine.gflops).max(gbytes / machine.gbytes);
            let (name, ms) = (self.name, 1e3 * seconds[i] / self.n_layers as f64);
            format!(
                "{name:<24} {shape:<16} {pass:<8} {ms:>9.3} {gflops:>8.1} {gbytes:>6.1} {:>6.0} %",
                100.0 * share
            )
        };
        Ok([(0, "forward"), (1, "step")].map(row).into())
    }
}

fn median(work: &dyn Fn() -> Result<()>) -> Result<f64> {
    let mut samples = clock(N_SAMPLES, &Device::Cpu, |_| work())?;
    samples.sort_by(f64::total_cmp);
    Ok(1e-3 * samples[N_SAMPLES / 2])
}

/// The table of all kernels, as far as anybody reads it.
pub(crate) fn print() -> Result<()> {
    let machine = Machine::measure();
    let mut out = std::io::stdout();
    let [layer, images, pass] = ["layer", "images", "pass"];
    let head =
        format!("{layer:<24} {images:<16} {pass:<8} {:>9} GFLOP/s {:>6} of roof", "ms", "GB/s");
    let mut is_read = writeln!(out, "{machine}\n\n{head}").is_ok();
    for kernel in kernels() {
        for row in kernel.rows(&machine)? {
            is_read = is_read && writeln!(out, "{row}").is_ok();
        }
        if !is_read {
            break;
        }
    }
    Ok(())
}
