//! `kd predict`: what a trained network says of pictures.

use std::io::{BufRead, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kd_core::{Error, Result};
use kd_suite::{Prediction, Predictor, pictures};

use super::setting::Threads;
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
    /// Print one JSON object a picture
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: Threads,
}

/// Pictures that are looked at before their lines are printed.
const GROUP: usize = 64;

/// Prints the likeliest classes of each picture; those that cannot be read are named on stderr, and make
/// the exit code that of bad data.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.threads.install(|| {
        let predictor = Predictor::open(&args.model, args.resize)?;
        let mut is_good = true;
        for name in &args.images {
            if name == "-" {
                for line in stdin().lock().lines() {
                    let line = line.map_err(Error::io(Path::new("-"), "read"))?;
                    is_good &= tell(args, &predictor, &[line.into()])?;
                }
            } else {
                for files in pictures(name)?.chunks(GROUP) {
                    is_good &= tell(args, &predictor, files)?;
                }
            }
        }
        Ok(if is_good { ExitCode::SUCCESS } else { exit::bad_data() })
    })
}

/// Whether all of `files` could be read.
fn tell(args: &Args, predictor: &Predictor, files: &[PathBuf]) -> anyhow::Result<bool> {
    let mut is_good = true;
    for said in predictor.predict(files, args.top) {
        match said {
            Ok(prediction) => println!("{}", line(args, &prediction)?),
            Err(error) => {
                is_good = false;
                eprintln!("kd: {error}");
            }
        }
    }
    stdout().flush()?;
    Ok(is_good)
}

/// `FILE<tab>CLASS 97.13 %<tab>...`.
fn line(args: &Args, prediction: &Prediction) -> Result<String> {
    if args.json {
        let text = serde_json::to_string(prediction);
        return text.map_err(|e| Error::config("json", e.to_string()));
    }
    let classes = prediction.classes.iter();
    let classes = classes.map(|c| format!("{} {:.2} %", c.class, 100.0 * c.probability));
    let file = prediction.file.display().to_string();
    Ok([file].into_iter().chain(classes).collect::<Vec<_>>().join("\t"))
}
