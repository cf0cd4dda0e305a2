//! What commands share that read or write weights: the images of a network, what is in a file, and that
//! nothing of the user's is overwritten unasked.

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use candle_core::Device;
use kd_core::{Error, Result};
use kd_suite::weights::{self, Contents, Loaded, Wanted};

use super::setting::{NetworkArgs, TrainedArgs};
use super::table;

/// What a network's shape depends on besides its name.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ImageArgs {
    /// Number of classes, where the weights do not say it [default: 10]
    #[arg(long, value_name = "K")]
    pub(super) classes: Option<usize>,
    /// Channels, height and width of an image, where the weights do not say it [default: 3,32,32]
    #[arg(long, value_parser = image_shape, value_name = "C,H,W")]
    pub(super) image_shape: Option<[usize; 3]>,
}

fn image_shape(text: &str) -> std::result::Result<[usize; 3], String> {
    let sizes: Option<Vec<usize>> = text.split(',').map(|size| size.parse().ok()).collect();
    sizes
        .and_then(|sizes| sizes.try_into().ok())
        .ok_or_else(|| "three numbers are needed, as in 3,32,32".into())
}

/// A network in a file, for whatever images.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FileArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    normalize: TrainedArgs,
}

impl FileArgs {
    /// The network; says what is to be known of how it was loaded.
    pub(super) fn load(&self) -> Result<Loaded> {
        let loaded = self.with(|path, wanted| weights::load(path, wanted, &Device::Cpu))?;
        loaded.tell(self.network.weights()?);
        Ok(loaded)
    }

    /// Whether only what is in the file is asked for.
    pub(super) fn is_dry(&self) -> bool {
        self.network.dry_run
    }

    /// Prints what is in the file.
    pub(super) fn show(&self) -> anyhow::Result<ExitCode> {
        show(self.network.weights()?, self.with(weights::contents)?)
    }

    /// What `read` makes of where the network is and what is said of it.
    fn with<T>(&self, read: impl Fn(&Path, &Wanted<'_>) -> Result<T>) -> Result<T> {
        let (model, normalize) = (self.network.model()?, self.normalize.given());
        let naming = self.network.naming();
        let wanted = Wanted {
            model: model.as_ref(),
            normalize: normalize.as_ref(),
            image_shape: self.images.image_shape,
            n_classes: self.images.classes,
            naming: Some(&naming),
            ..Wanted::default()
        };
        read(self.network.weights()?, &wanted)
    }
}

/// Prints what is in the file `path`; where the network cannot be loaded, that is the result.
pub(super) fn show(path: &Path, contents: Contents) -> anyhow::Result<ExitCode> {
    contents.notes.iter().for_each(|note| eprintln!("{}: {note}", path.display()));
    table::print(&contents.rows, "", &[]);
    contents.fault.map_or(Ok(ExitCode::SUCCESS), |fault| Err(fault.into()))
}

/// Refuses to write over what is there, unless that is wished.
pub(super) fn may_write(path: &Path, force: bool) -> Result<()> {
    if force || !path.exists() {
        return Ok(());
    }
    let reason = "it exists; --force writes over it";
    Err(Error::io(path, "create")(std::io::Error::new(ErrorKind::AlreadyExists, reason)))
}
