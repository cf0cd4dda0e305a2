//! The time of a piece of work, for comparison with the same work elsewhere: what `cargo xtask bench`
//! builds and calls.
//!
//! Images are random bytes: arithmetic takes the same time on any pixels. Steps go round over
//! batches assembled before, so that nothing is learnt by heart.
#![expect(clippy::print_stdout, reason = "results go to stdout")]

mod candle;
mod cnn;
mod mlp;
mod photos;
mod roofline;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use clap::{Parser, ValueEnum};
use cnn::{CIFAR, CIFAR_IMAGES, MNIST, PHOTOGRAPHS, RESNET18, RESNET20S};
use kd_core::device::{self, Precision};
use kd_core::ops::ConvSums;
use kd_core::{Error, Result, Stream, fsx};
use kd_data::{Augment, Images, Loader};
use mlp::Mlps;
use serde_json::json;

/// Times a piece of work.
#[derive(Debug, Parser)]
struct Args {
    /// What to time
    #[arg(long, value_enum, required_unless_present = "roofline")]
    case: Option<Case>,
    /// Time all kernels beside what the machine can do
    #[arg(long, conflicts_with_all = ["case", "steps", "photos", "json", "device", "tf32", "exact_conv"])]
    roofline: bool,
    /// Timed steps [default: a few seconds' worth]
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Class folders of photographs, or a pack, for the cases of photographs
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: String,
    /// Multiply on a GPU's tensor cores
    #[arg(long)]
    tf32: bool,
    /// Form the sums of convolutions product by product
    #[arg(long)]
    exact_conv: bool,
    /// Threads [default: all cores]
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// 784-1200-1200-10 with dropout, Adam, batch 128
    TeacherStep,
    /// The same by candle-nn's layers and optimizer, as they are
    CandleTeacherStep,
    /// Distilling 784-30-30-10, teacher forward included
    Student30Step,
    /// Distilling 784-300-300-10, teacher forward included
    Student300Step,
    /// An epoch of nine distilled students of 30 units and their baseline, in a cohort
    Grid30Epoch,
    /// ResNet-18 with the CIFAR stem, SGD with momentum, batch 128
    Resnet18Step,
    /// ResNet-20, SGD with momentum, batch 128
    Resnet20Step,
    /// Nine distilled ResNet-20s of a ResNet-56 and their baseline, in a cohort
    GridResnet20Step,
    /// Fourteen ResNet-20s of a ResNet-56, each with an objective of its own, in a cohort
    MethodsStep,
    /// ResNet-18 learns from ResNet-50 with 224 pixels, SGD with momentum, batch 32
    Resnet18DistillationStep,
    /// Papernot's network for MNIST with dropout, SGD with momentum, batch 128
    PapernotMnistStep,
    /// Papernot's network for CIFAR-10 with dropout, SGD with momentum, batch 128
    PapernotCifar10Step,
    /// Evaluation of ResNet-56 on 2000 images
    Resnet56Eval,
    /// MobileNetV2 of half width for 32 pixels, SGD with momentum, batch 128
    MobilenetV2CifarStep,
    /// Evaluation of MobileNetV2 on 52 images of 224 pixels
    MobilenetV2Eval,
    /// Evaluation of EfficientNet-Lite0 on 52 images of 224 pixels
    EfficientnetLite0Eval,
    /// A batch of 128 CIFAR images: cropped, mirrored
    CifarBatches,
    /// A batch of 32 photographs: random crops, mirrored
    PhotosTrain,
    /// A batch of 32 photographs: resized, center cut out
    PhotosEval,
    /// As photos-train, from a pack of the photographs
    PhotosPacked,
}

impl Case {
    fn samples(self, n_steps: Option<usize>, folder: Option<&Path>, on: &On) -> Result<Vec<f64>> {
        let device = &on.device;
        let n = |default| n_steps.unwrap_or(default).max(1);
        let cifar = |name, default| cnn::steps(name, CIFAR, n(default), on);
        let photographs = |name| cnn::evaluations(name, PHOTOGRAPHS, n(4), on);
        let mlps = |case| mlp::mlps(case, n(100), device);
        match self {
            Self::TeacherStep => mlps(Mlps::Teacher),
            Self::CandleTeacherStep => candle::teacher_steps(n(10), device),
            Self::Student30Step => mlps(Mlps::Student30),
            Self::Student300Step => mlps(Mlps::Student300),
            Self::Grid30Epoch => mlps(Mlps::Grid30),
            Self::Resnet18Step => cifar("resnet18-cifar", 4),
            Self::Resnet20Step => cifar("resnet20", 20),
            Self::GridResnet20Step => cnn::cohort(&RESNET20S, mlp::grid(), n(3), on),
            Self::MethodsStep => cnn::cohort(&RESNET20S, cnn::methods(), n(3), on),
            Self::Resnet18DistillationStep => {
                cnn::cohort(&RESNET18, vec![mlp::distill(0.5, 5.0)], n(3), on)
            }
            Self::PapernotMnistStep => cnn::steps("papernot-mnist", MNIST, n(40), on),
            Self::PapernotCifar10Step => cifar("papernot-cifar10", 15),
            Self::MobilenetV2CifarStep => cifar("mobilenet-v2-cifar-w0.5", 10),
            Self::Resnet56Eval => cnn::evaluations("resnet56", CIFAR_IMAGES, n(4), on),
            Self::MobilenetV2Eval => photographs("mobilenet-v2"),
            Self::EfficientnetLite0Eval => photographs("efficientnet-lite0"),
            Self::CifarBatches => cnn::batches(n(1000), device),
            Self::PhotosTrain => photos::photo_batches(folder, n(5)),
            Self::PhotosEval => photos::photo_centers(folder, n(5)),
            Self::PhotosPacked => photos::packed_photo_batches(folder, n(10)),
        }
    }

    /// Images of one sample.
    fn n_images(self) -> usize {
        match self {
            Self::Grid30Epoch => mlp::N_EPOCH_IMAGES,
            Self::Resnet56Eval => CIFAR_IMAGES.0,
            Self::Resnet18DistillationStep => RESNET18.batch_size,
            Self::MobilenetV2Eval | Self::EfficientnetLite0Eval => PHOTOGRAPHS.0,
            Self::PhotosTrain | Self::PhotosEval | Self::PhotosPacked => photos::PHOTO_BATCH_SIZE,
            _ => BATCH_SIZE,
        }
    }
}

/// What the work is done on, and how.
struct On {
    device: Device,
    conv_sums: ConvSums,
}

/// Images of a training step.
const BATCH_SIZE: usize = 128;

fn main() -> Result<()> {
    kd_suite::prepare_process();
    let args = Args::parse();
    let precision = if args.tf32 { Precision::Tf32 } else { Precision::F32 };
    let conv_sums = if args.exact_conv { ConvSums::Exact } else { ConvSums::Fast };
    let on = On { device: device::open(&args.device, precision)?, conv_sums };
    // candle walks and drops graphs recursively.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads).stack_size(64 << 20);
    let pool = pool.build().map_err(|e| Error::config("threads", e.to_string()))?;
    let Some(case) = args.case else { return pool.install(roofline::print) };
    let photos = args.photos.as_deref();
    print(case, &args, &pool.install(|| case.samples(args.steps, photos, &on))?);
    Ok(())
}

fn print(case: Case, args: &Args, samples: &[f64]) {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let min = sorted.first().copied().unwrap_or(f64::NAN);
    let (rate, peak_mb) = (case.n_images() as f64 / median * 1e3, peak_mb());
    let case = case.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned());
    if args.json {
        let object = json!({
            "case": case, "median_ms": median, "min_ms": min, "images_per_second": rate,
            "peak_mb": peak_mb, "samples": samples,
        });
        println!("{object}");
    } else {
        let peak = peak_mb.map_or(String::new(), |mb| format!(", {mb:.0} MB"));
        println!("{case}: median {median:.3} ms, minimum {min:.3} ms, {rate:.0} images/s{peak}");
    }
}

/// The most memory that this process has had, where the system tells it: 1 MB is 2^20 bytes.
fn peak_mb() -> Option<f64> {
    let status = fsx::read_bounded(Path::new("/proc/self/status"), 1 << 16, "").ok()?;
    let status = String::from_utf8_lossy(&status).into_owned();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}

/// Batches of random images.
fn loader(n_images: usize, shape: [usize; 3], augment: Augment) -> Result<Loader> {
    let mut rng = Stream::new(0).at("bench").rng();
    let n_pixels = n_images * shape.iter().product::<usize>();
    let pixels = (0..n_pixels).map(|_| rng.next_u32() as u8).collect();
    let labels = (0..n_images).map(|_| rng.below(10)).collect();
    let images = Images::new(pixels, labels, shape, 10)?;
    Loader::new(Arc::new(images), augment, Stream::new(0))
}
