//! `kd bench`: the time of a piece of work, for comparison with the same work elsewhere.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::Device;
use clap::ValueEnum;
use kd_core::{Result, fsx};
use kd_suite::bench::{self, CIFAR, CIFAR_IMAGES, MNIST, Mlps, PHOTOGRAPHS};
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

impl Case {
    fn samples(
        self,
        n_steps: Option<usize>,
        folder: Option<&Path>,
        device: &Device,
    ) -> Result<Vec<f64>> {
        let n = |default| n_steps.unwrap_or(default).max(1);
        let cifar = |name, default| bench::steps(name, CIFAR, n(default), device);
        let photographs = |name| bench::evaluations(name, PHOTOGRAPHS, n(4), device);
        let mlps = |case| bench::mlps(case, n(100), device);
        match self {
            Self::TeacherStep => mlps(Mlps::Teacher),
            Self::Student30Step => mlps(Mlps::Student30),
            Self::Student300Step => mlps(Mlps::Student300),
            Self::Grid30Epoch => mlps(Mlps::Grid30),
            Self::Resnet18Step => cifar("resnet18-cifar", 4),
            Self::Resnet20Step => cifar("resnet20", 20),
            Self::PapernotMnistStep => bench::steps("papernot-mnist", MNIST, n(40), device),
            Self::PapernotCifar10Step => cifar("papernot-cifar10", 15),
            Self::MobilenetV2CifarStep => cifar("mobilenet-v2-cifar-w0.5", 10),
            Self::Resnet56Eval => bench::evaluations("resnet56", CIFAR_IMAGES, n(4), device),
            Self::MobilenetV2Eval => photographs("mobilenet-v2"),
            Self::EfficientnetLite0Eval => photographs("efficientnet-lite0"),
            Self::CifarBatches => bench::batches(n(1000), device),
            Self::PhotosTrain => bench::photo_batches(folder, n(5)),
            Self::PhotosEval => bench::photo_centers(folder, n(5)),
            Self::PhotosPacked => bench::packed_photo_batches(folder, n(10)),
        }
    }

    /// Images of one sample.
    fn n_images(self) -> usize {
        match self {
            Self::Grid30Epoch => bench::N_EPOCH_IMAGES,
            Self::Resnet56Eval => CIFAR_IMAGES.0,
            Self::MobilenetV2Eval | Self::EfficientnetLite0Eval => PHOTOGRAPHS.0,
            Self::PhotosTrain | Self::PhotosEval | Self::PhotosPacked => bench::PHOTO_BATCH_SIZE,
            _ => bench::BATCH_SIZE,
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
