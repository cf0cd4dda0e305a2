//! `cargo xtask reproduce`: runs a suite from nothing to its report.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

use clap::ValueEnum;

use crate::dataset::{self, Dataset};
use crate::failure::{Code, Failure, Result};
use crate::{child, data, imagenet, kd};

/// Arguments of `reproduce`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The suite, such as mnist, or all
    suite: String,
    /// How much to run
    #[arg(long, value_enum, default_value_t)]
    preset: Preset,
    /// Data folder; nothing is downloaded [default: KD_DATA_DIR, else data/]
    #[arg(long, value_name = "DIR", conflicts_with = "synthetic")]
    data_dir: Option<PathBuf>,
    /// Use synthetic data of the same shape; they carry no verdict
    #[arg(long)]
    synthetic: bool,
    /// Repeat with so many seeds
    #[arg(long, value_name = "N")]
    seeds: Option<u32>,
    /// Weights of a teacher, which is then not trained
    #[arg(long, value_name = "PATH")]
    teacher: Option<PathBuf>,
    /// The network in it, such as resnet56, where the weights are from elsewhere
    #[arg(long, value_name = "NAME", requires = "teacher")]
    teacher_model: Option<String>,
    /// Mean of each channel by which trained networks normalize images, and that teacher where its
    /// weights do not say it
    #[arg(long, value_name = "X,..", requires = "std")]
    mean: Option<String>,
    /// Standard deviation of each channel
    #[arg(long, value_name = "X,..", requires = "mean")]
    std: Option<String>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// How exactly a GPU multiplies: f32 or tf32
    #[arg(long, value_name = "P", requires = "device")]
    precision: Option<String>,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// Folder for the results; of several suites, their parent [default: runs/SUITE-PRESET]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// Seconds
    Smoke,
    /// Minutes
    #[default]
    Quick,
    /// The paper's protocol
    Paper,
    /// Today's usual recipe (imagenet)
    Standard,
}

impl Preset {
    fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Quick => "quick",
            Self::Paper => "paper",
            Self::Standard => "standard",
        }
    }
}

/// Where a suite's images come from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Folder(PathBuf),
    Synthetic,
}

impl Args {
    /// What CI runs: the smoke preset of `suite` on synthetic data, into `out`.
    pub(crate) fn smoke(suite: &str, out: PathBuf) -> Self {
        Self {
            suite: suite.into(),
            preset: Preset::Smoke,
            data_dir: None,
            synthetic: true,
            seeds: None,
            teacher: None,
            teacher_model: None,
            mean: None,
            std: None,
            device: None,
            precision: None,
            threads: None,
            out: Some(out),
        }
    }

    /// The folder of `suite`, one of several or the only one.
    fn out(&self, suite: &str, several: bool) -> Result<PathBuf> {
        let name = format!("{suite}-{}", self.preset.name());
        match &self.out {
            None => Ok(Path::new("runs").join(name)),
            Some(out) => {
                let out = absolute(out).map_err(Failure::io(out, "find"))?;
                Ok(if several { out.join(name) } else { out })
            }
        }
    }
}

/// Finds or downloads the data and builds `kd`, both at once, runs the suites and says where the reports are.
///
/// # Errors
/// [`Code::Usage`] for an unknown suite, those of the data, and the exit code of `kd`: the first
/// suite that fails is the last one that runs.
pub(crate) fn run(args: &Args) -> Result<()> {
    let suites = chosen(&args.suite, args.preset, suites()?)?;
    let sources = prepare(args, &suites)?;
    for (suite, source) in suites.iter().zip(&sources) {
        let out = args.out(suite, suites.len() > 1)?;
        let mut kd = kd::build_for(args.device.as_deref())?;
        configure(&mut kd, args, suite, source, &out)?;
        eprintln!("running {suite}, preset {}", args.preset.name());
        child::run(&mut kd)?;
        println!("{suite}: the report is {}", kd::root().join(out).join("report.html").display());
    }
    Ok(())
}

/// Finds the images of each suite, or downloads them while cargo builds `kd`. What `--data-dir` lacks is
/// said before anything is built.
fn prepare(args: &Args, suites: &[String]) -> Result<Vec<Source>> {
    let datasets = dataset::all()?;
    let sources = || suites.iter().map(|s| source(args, s, &datasets)).collect::<Result<Vec<_>>>();
    if args.data_dir.is_some() {
        return sources();
    }
    std::thread::scope(|scope| {
        let sources = scope.spawn(sources);
        let built = kd::build_for(args.device.as_deref());
        let sources = sources.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        built.map(|_| sources)
    })
}

/// The suites that there are: files of `xtask/suites/`.
fn suites() -> Result<BTreeSet<String>> {
    let folder = kd::root().join("xtask/suites");
    let entries = fs::read_dir(&folder).map_err(Failure::io(&folder, "read"))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    Ok(files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect())
}

/// The suites that `name` stands for. A suite `X-Y` beside a suite `X` repeats it on other data: it
/// runs with it, in the preset `paper` alone, or by its own name.
fn chosen(name: &str, preset: Preset, suites: BTreeSet<String>) -> Result<Vec<String>> {
    let repeats =
        |suite: &String, of: &str| suite.strip_prefix(of).is_some_and(|rest| rest.starts_with('-'));
    let first: Vec<&String> =
        suites.iter().filter(|suite| !suites.iter().any(|of| repeats(suite, of))).collect();
    let with_repeats = |of: &String| {
        let others = suites.iter().filter(|suite| preset == Preset::Paper && repeats(suite, of));
        std::iter::once(of).chain(others).cloned().collect::<Vec<_>>()
    };
    if name == "all" {
        return Ok(first.into_iter().flat_map(with_repeats).collect());
    }
    if let Some(suite) = suites.get(name) {
        return Ok(with_repeats(suite));
    }
    let known: Vec<_> = suites.iter().map(String::as_str).chain(["all"]).collect();
    let line = format!("no suite `{name}`; there are: {}", known.join(", "));
    Err(Failure::new(Code::Usage, line))
}

/// `--synthetic`; else the data of `--data-dir`, which must be there; else those of the default
/// folder, downloaded where they are missing, and synthetic ones where they cannot be.
fn source(args: &Args, suite: &str, datasets: &BTreeMap<String, Dataset>) -> Result<Source> {
    if args.synthetic {
        return Ok(Source::Synthetic);
    }
    if suite == imagenet::NAME {
        return imagenet_source(args);
    }
    let needed = || datasets.iter().filter(|(_, d)| d.suites.iter().any(|name| name == suite));
    if let Some(dir) = &args.data_dir {
        let dir = absolute(dir).map_err(Failure::io(dir, "find"))?;
        needed().try_for_each(|(name, dataset)| dataset.require(name, &dir))?;
        return Ok(Source::Folder(dir));
    }
    let (dir, named) = dataset::default_folder();
    let dir = absolute(&dir).map_err(Failure::io(&dir, "find"))?;
    for (name, dataset) in needed().filter(|(_, dataset)| dataset.locate(&dir).is_none()) {
        if args.preset == Preset::Smoke && !named {
            eprintln!("{}: not in data/; the smoke preset does without", dataset.title);
            notice(suite);
            return Ok(Source::Synthetic);
        }
        match data::download(name, dataset, &dir) {
            Err(failure) if failure.code() == Code::Unavailable as u8 => {
                failure.print();
                notice(suite);
                return Ok(Source::Synthetic);
            }
            result => result?,
        };
    }
    Ok(Source::Folder(dir))
}

/// ImageNet itself for a training of days, which cannot be downloaded and for which nothing stands
/// in; the synthetic photographs for one of minutes.
fn imagenet_source(args: &Args) -> Result<Source> {
    if matches!(args.preset, Preset::Smoke | Preset::Quick) {
        notice(imagenet::NAME);
        return Ok(Source::Synthetic);
    }
    let dir = args.data_dir.clone().unwrap_or_else(|| dataset::default_folder().0);
    let dir = absolute(&dir).map_err(Failure::io(&dir, "find"))?;
    imagenet::prepare(&dir, kd::build)?;
    Ok(Source::Folder(dir))
}

fn notice(suite: &str) {
    let line = format!("*** SYNTHETIC DATA: {suite} says nothing about the paper's numbers ***");
    let stars = "*".repeat(line.len());
    eprintln!("{stars}\n{line}\n{stars}");
}

fn configure(
    kd: &mut Command,
    args: &Args,
    suite: &str,
    source: &Source,
    out: &Path,
) -> Result<()> {
    kd.arg("run").arg(format!("xtask/suites/{suite}.toml"));
    kd.args(["--preset", args.preset.name()]);
    match source {
        Source::Folder(dir) => kd.arg("--data-dir").arg(dir),
        Source::Synthetic => kd.arg("--synthetic"),
    };
    let numbers = [("--seeds", args.seeds), ("--threads", args.threads)];
    for (flag, number) in numbers.into_iter().filter_map(|(flag, n)| Some((flag, n?))) {
        kd.args([flag, &number.to_string()]);
    }
    if let Some(teacher) = &args.teacher {
        kd.arg("--teacher").arg(absolute(teacher).map_err(Failure::io(teacher, "find"))?);
    }
    let texts = [
        ("--teacher-model", &args.teacher_model),
        ("--mean", &args.mean),
        ("--std", &args.std),
        ("--device", &args.device),
        ("--precision", &args.precision),
    ];
    for (flag, text) in texts.into_iter().filter_map(|(flag, text)| Some((flag, text.as_ref()?))) {
        kd.args([flag, text]);
    }
    kd.arg("--out").arg(out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::sample;

    fn args() -> Args {
        Args { out: None, synthetic: false, ..Args::smoke("mnist", PathBuf::new()) }
    }

    fn datasets() -> BTreeMap<String, Dataset> {
        let dataset = Dataset { suites: vec!["mnist".into()], ..sample(b"content").0 };
        BTreeMap::from([("sample".into(), dataset)])
    }

    #[test]
    fn an_unknown_suite_lists_the_known() {
        let suites = || BTreeSet::from(["mnist".into(), "cifar10".into()]);
        let chosen = |name| chosen(name, Preset::Quick, suites());
        assert_eq!(chosen("mnist").unwrap(), ["mnist"]);
        assert_eq!(chosen("all").unwrap(), ["cifar10", "mnist"]);
        let failure = chosen("cifar100").unwrap_err();
        let Failure::Own(Code::Usage, line) = failure else { panic!() };
        assert!(line.ends_with("cifar10, mnist, all"), "{line}");
    }

    #[test]
    fn a_suite_is_repeated_on_other_data_by_the_paper_preset_alone() {
        let suites = ["defensive", "defensive-cifar10", "mnist"].map(str::to_owned);
        let chosen = |name, preset| chosen(name, preset, suites.clone().into()).unwrap();
        assert_eq!(chosen("defensive", Preset::Quick), suites[..1]);
        assert_eq!(chosen("defensive", Preset::Paper), suites[..2]);
        assert_eq!(chosen("defensive-cifar10", Preset::Smoke), suites[1..2]);
        assert_eq!(chosen("all", Preset::Smoke), [&suites[..1], &suites[2..]].concat());
        assert_eq!(chosen("all", Preset::Paper), suites);
    }

    #[test]
    fn a_named_folder_never_falls_back() {
        let dir = tempfile::tempdir().unwrap();
        let args = Args { data_dir: Some(dir.path().into()), ..args() };
        assert_eq!(source(&args, "mnist", &datasets()).unwrap_err().code(), 66);
        fs::create_dir(dir.path().join("s")).unwrap();
        fs::write(dir.path().join("s/a"), "content").unwrap();
        let folder = Source::Folder(dir.path().into());
        assert_eq!(source(&args, "mnist", &datasets()).unwrap(), folder);
    }

    #[test]
    fn a_suite_without_data_sets_needs_none() {
        let args = Args { data_dir: Some("/no/such/folder".into()), ..args() };
        assert!(source(&args, "other", &datasets()).is_ok());
        let args = Args { synthetic: true, ..super::tests::args() };
        assert_eq!(source(&args, "mnist", &datasets()).unwrap(), Source::Synthetic);
    }

    #[test]
    fn kd_gets_what_was_asked_for() {
        let text = |text: &str| Some(text.to_owned());
        let args = Args {
            seeds: Some(3),
            teacher: Some("/t.th".into()),
            teacher_model: text("resnet56"),
            device: text("cpu"),
            ..args()
        };
        let mut kd = Command::new("kd");
        let folder = Source::Folder("/d".into());
        configure(&mut kd, &args, "mnist", &folder, &args.out("mnist", false).unwrap()).unwrap();
        let got: Vec<_> = kd.get_args().map(|arg| arg.to_str().unwrap()).collect();
        let want = "run xtask/suites/mnist.toml --preset smoke --data-dir /d --seeds 3 \
                    --teacher /t.th --teacher-model resnet56 --device cpu --out runs/mnist-smoke";
        assert_eq!(got.join(" "), want);
    }

    #[test]
    fn several_suites_have_a_folder_each() {
        let out = Some(PathBuf::from("/o"));
        let args = Args { out, ..args() };
        assert_eq!(args.out("mnist", false).unwrap(), Path::new("/o"));
        assert_eq!(args.out("mnist", true).unwrap(), Path::new("/o/mnist-smoke"));
    }
}
