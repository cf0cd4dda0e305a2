//! `kd predict`: what a trained network says of pictures.

use std::io::{Write, stdout};
use std::path::PathBuf;

use kd_suite::{Predictor, groups};

use super::setting::Common;
use crate::exit;

/// Arguments of `kd predict`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A network of kd's with its weights, or an ONNX file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Pictures, folders of pictures, patterns such as 'a/*.jpg'; - reads paths from stdin, one a line
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// So many of the likeliest classes
    #[arg(long, default_value_t = 5, value_name = "N")]
    top: usize,
    /// Pixels of a photograph's shorter side before the central square is cut out [default: what MODEL
    /// says, else 8/7 of the square; a picture of the network's size is taken as it is]
    #[arg(long, value_name = "PIXELS")]
    resize: Option<usize>,
    #[command(flatten)]
    common: Common,
}

/// Prints the likeliest classes of each picture; those that cannot be read are named on stderr, and make
/// the exit code that of bad data.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let is_good = args.common.install(|| -> anyhow::Result<bool> {
        let predictor = Predictor::open(&args.model, args.resize)?;
        let mut is_good = true;
        for files in groups(&args.images) {
            for said in predictor.predict(&files?, args.top) {
                match said {
                    Ok(prediction) => exit::print(&prediction, args.common.json)?,
                    Err(error) => {
                        is_good = false;
                        eprintln!("kd: {error}");
                    }
                }
            }
            stdout().flush()?;
        }
        Ok(is_good)
    })?;
    exit::require_good(is_good)
}
