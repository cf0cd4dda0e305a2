//! Flags that several commands share: device, threads, data, networks; and signals.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::images::DataArgs;
use super::words::one_of;
use anyhow::Context;
use candle_core::Device;
use kd_core::device::{self, Precision};
use kd_core::ops::{ConvSums, Normalize};
use kd_core::{Error, Result};
use kd_data::Split;
use kd_models::Names;
use kd_models::weights::Naming;
use kd_suite::{NetworkFile, Subject, image_shape, on_threads};
use signal_hook::consts::{SIGINT, SIGTERM};

/// What a command computes on.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Compute {
    /// auto, cpu, cuda or cuda:N; auto is the first GPU where there is one
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: String,
    /// How exactly a GPU multiplies: f32 as a processor does; tf32 in matrix products and convolutions
    /// factors with 11 bits, on tensor cores
    #[arg(long, value_parser = one_of::<Precision>(&["f32", "tf32"]), default_value = "f32")]
    precision: Precision,
    /// Form the sums of 3x3 convolutions product by product: slower, and a little more exact
    #[arg(long)]
    pub(crate) exact_conv: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Compute {
    /// The device asked for; says which GPU it is.
    pub(crate) fn device(&self) -> Result<Device> {
        let device = device::open(&self.device, self.precision)?;
        if !device.is_cpu() {
            eprintln!("device: {}", device::describe(&device)?);
        }
        Ok(device)
    }

    /// The processor, for what has no GPU side; `auto` means it, too.
    pub(crate) fn cpu(&self) -> Result<Device> {
        match self.device.as_str() {
            "auto" | "cpu" => Ok(Device::Cpu),
            _ => Err(Error::config("device", "this computes on the processor only: --device cpu")),
        }
    }
}

/// What all commands share that take their time.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// Print JSON, an object for each result
    #[arg(long)]
    pub(crate) json: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
}

impl Common {
    /// Calls `f` within the thread pool that all computation shares.
    pub(crate) fn install<R: Send, E: Send + Into<anyhow::Error>>(
        &self,
        f: impl FnOnce() -> std::result::Result<R, E> + Send,
    ) -> anyhow::Result<R> {
        on_threads(self.threads, f)?.map_err(Into::into)
    }
}

/// The data folder.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DataDir {
    /// Data folder
    #[arg(id = "data_dir", long = "data-dir", value_name = "DIR")]
    #[arg(env = "KD_DATA_DIR", default_value = "data")]
    pub(crate) path: PathBuf,
}

/// The normalization of images before a network.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NormalizeArgs {
    /// Mean of each channel, for pixels in [0, 1], by which images are normalized for a network that is
    /// trained, and for weights from elsewhere; kd's own say it themselves [default: the data set's, if any]
    #[arg(long, value_delimiter = ',', requires = "std", value_name = "X,..")]
    mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, likewise
    #[arg(long, value_delimiter = ',', requires = "mean", value_name = "X,..")]
    std: Option<Vec<f32>>,
}

impl NormalizeArgs {
    /// The normalization, where one was given.
    pub(crate) fn given(&self) -> Option<Normalize> {
        Some(Normalize { mean: self.mean.clone()?, std: self.std.clone()? })
    }
}

/// A flag that SIGTERM and the first SIGINT set; the second SIGINT ends the program at once.
pub(crate) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let interrupted = crate::exit::INTERRUPTED.into();
    signal_hook::flag::register_conditional_shutdown(SIGINT, interrupted, stop.clone())
        .and_then(|_| signal_hook::flag::register(SIGINT, stop.clone()))
        .and_then(|_| signal_hook::flag::register(SIGTERM, stop.clone()))
        .context("cannot catch signals")?;
    Ok(stop)
}

/// Where in a file from elsewhere the weights are.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct NamingArgs {
    /// Dictionary of the weights in a file from elsewhere, names joined by dots; `kd import FILE --dry-run`
    /// shows what there is [default: the first that fits, such as state_dict or model]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Take this away from before the names of its tensors, and pass over other ones [default: what all
    /// have and the network has not, such as `module.`]
    #[arg(long, value_name = "PREFIX")]
    strip_prefix: Option<String>,
}

impl NamingArgs {
    /// With names as those of `names`.
    pub(crate) fn naming(&self, names: Names) -> Naming {
        Naming { key: self.key.clone(), prefix: self.strip_prefix.clone(), names }
    }

    /// For the weights of the teacher at `path`.
    pub(crate) fn of_teacher(&self, path: Option<&Path>) -> Result<Naming> {
        let naming = self.naming(Names::default());
        match path.is_some() || naming.is_default() {
            true => Ok(naming),
            false => {
                Err(Error::config("key", "says where a teacher's weights are; give --teacher"))
            }
        }
    }
}

/// The network that a command works with.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NetworkArgs {
    /// The network, such as papernot-mnist or resnet20, of weights from elsewhere; kd's own say it
    /// themselves. Or a file NETWORK.onnx, which has its weights with it
    #[arg(long)]
    model: Option<String>,
    /// Checkpoint folder, safetensors file, PyTorch checkpoint or ONNX file
    #[arg(long, value_name = "PATH", required_unless_present = "model")]
    weights: Option<PathBuf>,
    #[command(flatten)]
    naming: NamingArgs,
    /// Only print what is in the file of weights, and what would be loaded
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl NetworkArgs {
    /// The file of its weights, and what is said of it.
    pub(crate) fn file(&self) -> Result<NetworkFile> {
        let naming = self.naming.naming(Names::default());
        NetworkFile::given(self.weights.as_deref(), self.model.as_deref(), naming)
    }
}

/// The network that a command judges, and the images that it is judged by.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SubjectArgs {
    #[command(flatten)]
    pub(super) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Which part of it
    #[arg(long, value_parser = one_of::<Split>(&["train", "test"]), default_value = "test")]
    split: Split,
    #[command(flatten)]
    normalize: NormalizeArgs,
    #[command(flatten)]
    data_dir: DataDir,
}

impl SubjectArgs {
    /// Both, on `device`.
    pub(crate) fn on(&self, device: Device, compute: &Compute) -> Result<Subject> {
        let network = self.network.file()?;
        Ok(Subject {
            data: self.data.spec(|| image_shape(&network.path))?,
            network,
            normalize: self.normalize.given(),
            data_dir: self.data_dir.path.clone(),
            split: self.split,
            device,
            conv_sums: if compute.exact_conv { ConvSums::Exact } else { ConvSums::Fast },
        })
    }
}
