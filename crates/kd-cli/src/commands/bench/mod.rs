//! `kd bench`: the time of a piece of work, for comparison with the same work elsewhere.
//!
//! Images are random bytes: arithmetic takes the same time on any pixels. Steps go round over
//! batches assembled before, so that nothing is learnt by heart.

mod cnn;
mod mlp;
mod photos;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use candle_core::Device;
use clap::ValueEnum;
use kd_core::{Result, Stream, fsx};
use kd_data::{Augment, Images, Loader};
use serde_json::json;

use super::setting::Compute;

/// Arguments of `kd bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to time
    #[arg(long, value_enum)]
    case: Case,
    /// Timed steps [default: a few seconds' worth]
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Class folders of photographs, or a pack, for the cases of photographs
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// 784-1200-1200-10 with dropout, Adam, batch 128
    TeacherStep,
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

/// Images of a training step.
const BATCH_SIZE: usize = 128;

impl Case {
    fn samples(
        self,
        n_steps: Option<usize>,
        folder: Option<&Path>,
        device: &Device,
    ) -> Result<Vec<f64>> {
        let steps = |default| n_steps.unwrap_or(default).max(1);
        match self {
            Self::Resnet18Step => cnn::steps("resnet18-cifar", cnn::CIFAR, steps(4), device),
            Self::Resnet20Step => cnn::steps("resnet20", cnn::CIFAR, steps(20), device),
            Self::PapernotMnistStep => cnn::steps("papernot-mnist", cnn::MNIST, steps(40), device),
            Self::PapernotCifar10Step => {
                cnn::steps("papernot-cifar10", cnn::CIFAR, steps(15), device)
            }
            Self::MobilenetV2CifarStep => {
                cnn::steps("mobilenet-v2-cifar-w0.5", cnn::CIFAR, steps(10), device)
            }
            Self::Resnet56Eval => cnn::evaluations("resnet56", &cnn::CIFAR_SET, steps(4), device),
            Self::MobilenetV2Eval => {
                cnn::evaluations("mobilenet-v2", &cnn::PHOTOGRAPHS, steps(4), device)
            }
            Self::EfficientnetLite0Eval => {
                cnn::evaluations("efficientnet-lite0", &cnn::PHOTOGRAPHS, steps(4), device)
            }
            Self::CifarBatches => cnn::batches(steps(1000), device),
            Self::PhotosTrain => photos::train(photos::open(folder)?, steps(5)),
            Self::PhotosEval => photos::evaluate(photos::open(folder)?, steps(5)),
            Self::PhotosPacked => photos::train_packed(photos::open(folder)?, steps(10)),
            _ => mlp::samples(self, steps(100), device),
        }
    }

    /// Images of one sample.
    fn n_images(self) -> usize {
        match self {
            Self::Grid30Epoch => mlp::N_IMAGES,
            Self::Resnet56Eval => cnn::CIFAR_SET.n_images,
            Self::MobilenetV2Eval | Self::EfficientnetLite0Eval => cnn::PHOTOGRAPHS.n_images,
            Self::PhotosTrain | Self::PhotosEval | Self::PhotosPacked => photos::BATCH_SIZE,
            _ => BATCH_SIZE,
        }
    }
}

/// Times the case and prints its figures.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let device = args.compute.device()?;
    let photos = args.photos.as_deref();
    let samples =
        args.compute.threads.install(|| Ok(args.case.samples(args.steps, photos, &device)?))?;
    let mut sorted = samples.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let min = sorted.first().copied().unwrap_or(f64::NAN);
    let case = args.case.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned());
    let (rate, peak_mb) = (args.case.n_images() as f64 / median * 1e3, peak_mb());
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
    Ok(ExitCode::SUCCESS)
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
