//! What commands share that read or write weights: the images of a network, what is in a file, and that
//! nothing of the user's is overwritten unasked.

use std::io::ErrorKind;
use std::path::Path;

use kd_core::ops::Normalize;
use kd_core::{Error, Result};
use kd_suite::weights::{Contents, Loaded};
use kd_suite::{NetworkFile, Source};

use super::setting::{NetworkArgs, NormalizeArgs};

/// What a network's shape depends on besides its name.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ImageArgs {
    /// Number of classes, where the weights do not say it [default: 10]
    #[arg(long, value_name = "K")]
    classes: Option<usize>,
    /// Channels, height and width of an image, where the weights do not say it [default: 3,32,32]
    #[arg(long, value_parser = image_shape, value_name = "C,H,W")]
    image_shape: Option<[usize; 3]>,
}

fn image_shape(text: &str) -> std::result::Result<[usize; 3], String> {
    let sizes: Option<Vec<usize>> = text.split(',').map(|size| size.parse().ok()).collect();
    let sizes = sizes.and_then(|sizes| sizes.try_into().ok());
    sizes.ok_or_else(|| "three numbers are needed, as in 3,32,32".into())
}

impl ImageArgs {
    /// The network in `file`, for such images.
    pub(super) fn source(&self, file: NetworkFile, normalize: Option<Normalize>) -> Source {
        Source { file, normalize, image_shape: self.image_shape, n_classes: self.classes }
    }
}

/// A network in a file, for whatever images.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FileArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    normalize: NormalizeArgs,
}

impl FileArgs {
    /// The network; nothing where only what is in the file is asked for, which is then printed.
    pub(super) fn load(&self) -> anyhow::Result<Option<Loaded>> {
        let source = self.images.source(self.network.file()?, self.normalize.given());
        match self.network.dry_run {
            true => show(&source.file.path, source.contents()?).map(|()| None),
            false => Ok(Some(source.load()?)),
        }
    }

    /// Whether only what is in the file is asked for.
    pub(super) fn is_dry(&self) -> bool {
        self.network.dry_run
    }
}

/// Prints what is in the file `path`; where the network cannot be loaded, that is the result.
pub(super) fn show(path: &Path, contents: Contents) -> anyhow::Result<()> {
    contents.notes.iter().for_each(|note| eprintln!("{}: {note}", path.display()));
    println!("{contents}");
    contents.fault.map_or(Ok(()), |fault| Err(fault.into()))
}

/// Refuses to write over what is there, unless that is wished.
pub(super) fn may_write(path: &Path, force: bool) -> Result<()> {
    if force || !path.exists() {
        return Ok(());
    }
    let reason = "it exists; --force writes over it";
    Err(Error::io(path, "create")(std::io::Error::new(ErrorKind::AlreadyExists, reason)))
}
