//! `cargo xtask data`: downloads a data set, or says what to put where.

use std::path::{Path, PathBuf, absolute};

use crate::dataset::{self, DataFile, Dataset};
use crate::failure::{Code, Failure, Result};
use crate::{https, imagenet, kd};

/// Arguments of `data`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data set, such as mnist
    name: String,
    /// Data folder [default: KD_DATA_DIR, else data/]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Makes sure that the data set is there, whole and right.
///
/// # Errors
/// [`Code::Usage`] for an unknown name, [`Code::Unavailable`] when it cannot be downloaded,
/// [`Code::BadData`] when what is there is something else, I/O failures.
pub(crate) fn run(args: &Args) -> Result<()> {
    let datasets = dataset::all()?;
    let data_dir = args.data_dir.clone().unwrap_or_else(|| dataset::default_folder().0);
    let data_dir = absolute(&data_dir).map_err(Failure::io(&data_dir, "find"))?;
    if args.name == imagenet::NAME {
        imagenet::prepare(&data_dir, kd::build)?;
        println!("ImageNet: complete in {}", data_dir.join(imagenet::NAME).display());
        return Ok(());
    }
    let dataset = datasets.get(&args.name).ok_or_else(|| {
        let names: Vec<_> = datasets.keys().map(String::as_str).chain([imagenet::NAME]).collect();
        let line = format!("no data set `{}`; there are: {}", args.name, names.join(", "));
        Failure::new(Code::Usage, line)
    })?;
    let files = match dataset.locate(&data_dir) {
        Some(files) => files,
        None => download(&args.name, dataset, &data_dir)?,
    };
    files.iter().try_for_each(|(file, path)| file.verify(path))?;
    println!("{}: complete in {}", dataset.title, data_dir.display());
    Ok(())
}

/// Downloads what is missing of `dataset` into its folder of `data_dir`; returns all its files
/// with their paths.
///
/// # Errors
/// [`Code::Unavailable`] and I/O failures.
pub(crate) fn download<'d>(
    name: &str,
    dataset: &'d Dataset,
    data_dir: &Path,
) -> Result<Vec<(&'d DataFile, PathBuf)>> {
    let folder = data_dir.join(&dataset.folder);
    let mirrors = mirrors(dataset);
    let unavailable =
        |reason: &str| match dataset.files.iter().find(|f| f.locate(&folder).is_none()) {
            Some(file) => file.unavailable(reason, &folder.join(&file.name)),
            None => Failure::new(Code::Unavailable, reason),
        };
    if offline() {
        return Err(unavailable("KD_OFFLINE is set"));
    }
    #[cfg(any(test, feature = "http"))]
    if https::is_compiled_in(&mirrors) {
        crate::download::fetch_missing(dataset, &folder, mirrors.clone())?;
    }
    if !https::is_compiled_in(&mirrors) {
        if !https::reachable(&mirrors) {
            return Err(unavailable("no mirror can be reached; is there a network?"));
        }
        https::download(name, data_dir, &mirrors)?;
    }
    dataset.locate(data_dir).ok_or_else(|| unavailable("it is gone again"))
}

/// `KD_MIRROR_BASE` stands in for all mirrors: a server of a data folder.
fn mirrors(dataset: &Dataset) -> Vec<String> {
    match std::env::var("KD_MIRROR_BASE") {
        Ok(base) if !base.is_empty() => {
            vec![format!("{}/{}", base.trim_end_matches('/'), dataset.folder.display())]
        }
        _ => dataset.mirrors.clone(),
    }
}

fn offline() -> bool {
    std::env::var_os("KD_OFFLINE").is_some_and(|value| !value.is_empty() && value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_the_known() {
        let failure = run(&Args { name: "nmist".into(), data_dir: None }).unwrap_err();
        let Failure::Own(Code::Usage, line) = failure else { panic!() };
        assert!(line.ends_with(": cifar10, cifar100, mnist, imagenet"), "{line}");
    }
}
