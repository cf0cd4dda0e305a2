//! `cargo xtask data`: downloads a data set, or says what to put where.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf, absolute};

use crate::dataset::{self, DataFile, Dataset};
use crate::download::{Downloader, unavailable};
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
            Some(file) => unavailable(reason, file, &folder.join(&file.name)),
            None => Failure::new(Code::Unavailable, reason),
        };
    if offline() {
        return Err(unavailable("KD_OFFLINE is set"));
    }
    if !https::COMPILED_IN && mirrors.iter().any(|url| url.starts_with("https:")) {
        if !https::reachable(&mirrors) {
            return Err(unavailable("no mirror can be reached; is there a network?"));
        }
        https::download(name, data_dir)?;
    } else {
        fetch_missing(dataset, &folder, mirrors)?;
    }
    dataset.locate(data_dir).ok_or_else(|| unavailable("it is gone again"))
}

fn fetch_missing(dataset: &Dataset, folder: &Path, mirrors: Vec<String>) -> Result<()> {
    fs::create_dir_all(folder).map_err(Failure::io(folder, "create"))?;
    let _lock = lock(folder)?;
    let downloader = Downloader::new(mirrors);
    for file in dataset.files.iter().filter(|file| file.locate(folder).is_none()) {
        eprintln!("downloading {} ({:.1} MB)", file.name, file.size as f64 / 1e6);
        downloader.fetch(file, &folder.join(&file.name))?;
    }
    Ok(())
}

/// Keeps a second download into `folder` waiting until the first has ended.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    let file = File::create(&path).map_err(Failure::io(&path, "create"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another download into {}", folder.display());
            file.lock().map_err(Failure::io(&path, "lock"))?;
        }
        Err(TryLockError::Error(error)) => return Err(Failure::io(&path, "lock")(error)),
    }
    Ok(file)
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
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_download_waits_for_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        let (sender, receiver) = mpsc::channel();
        let folder = dir.path().to_owned();
        let second = thread::spawn(move || {
            let _lock = lock(&folder).unwrap();
            sender.send(()).unwrap();
        });
        assert!(receiver.recv_timeout(Duration::from_millis(200)).is_err());
        drop(first);
        receiver.recv_timeout(Duration::from_secs(5)).unwrap();
        second.join().unwrap();
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        let failure = run(&Args { name: "nmist".into(), data_dir: None }).unwrap_err();
        let Failure::Own(Code::Usage, line) = failure else { panic!() };
        assert!(line.ends_with(": cifar10, cifar100, mnist, imagenet"), "{line}");
    }
}
