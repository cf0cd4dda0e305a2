//! What import and export share: the images of a network, and that nothing of the user's is
//! overwritten unasked.

use std::io::ErrorKind;
use std::path::Path;

use kd_core::Error;

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

fn image_shape(text: &str) -> Result<[usize; 3], String> {
    let sizes: Option<Vec<usize>> = text.split(',').map(|size| size.parse().ok()).collect();
    sizes
        .and_then(|sizes| sizes.try_into().ok())
        .ok_or_else(|| "three numbers are needed, as in 3,32,32".into())
}

/// Refuses to write over what is there, unless that is wished.
pub(super) fn may_write(path: &Path, force: bool) -> kd_core::Result<()> {
    if force || !path.exists() {
        return Ok(());
    }
    let reason = "it exists; --force writes over it";
    Err(Error::io(path, "create")(std::io::Error::new(ErrorKind::AlreadyExists, reason)))
}
