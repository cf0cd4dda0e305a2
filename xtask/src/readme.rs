//! `cargo xtask readme`: writes the figures of the READMEs, and their pictures, from the result
//! files in `xtask/results`.
//!
//! What lies between `<!-- cargo xtask readme: NAME -->` and `<!-- end -->` is made here, so that no
//! figure is typed twice. `mnist.json`, `readings*.json`, `referee.json` and `defensive.json` have the keys of a run's
//! `report.json`, `speed-*.json` are what `cargo xtask bench --peer --json` prints: new ones can take their places.

mod chart;
mod methods;
mod patterns;
mod readings;
mod results;
mod speed;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::failure::{Code, Failure, Result};
use crate::kd;

const PAGES: [&str; 3] = ["README.md", "xtask/suites/README.md", "xtask/peer/README.md"];
const BEGIN: &str = "<!-- cargo xtask readme: ";
const END: &str = "<!-- end -->";

/// Arguments of `readme`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing, and fail where a file is not what the results give
    #[arg(long)]
    check: bool,
}

/// Writes the pages and pictures that differ, or names them.
///
/// # Errors
/// [`Code::BadData`] for results or pages that are not understood, and with `--check` where a file
/// differs.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut stale = Vec::new();
    for (name, content) in files()? {
        let path = kd::root().join(&name);
        if fs::read_to_string(&path).is_ok_and(|old| old == content) {
            continue;
        }
        if !args.check {
            fs::write(&path, content).map_err(Failure::io(&path, "write"))?;
        }
        stale.push(name);
    }
    match (stale.is_empty(), args.check) {
        (false, true) => Err(Failure::new(
            Code::BadData,
            format!("{} and xtask/results differ; run `cargo xtask readme`", stale.join(", ")),
        )),
        _ => {
            stale.iter().for_each(|name| println!("{name}: written"));
            Ok(())
        }
    }
}

/// That nothing is to be written.
///
/// # Errors
/// As [`run`] with `--check`.
pub(crate) fn check() -> Result<()> {
    run(&Args { check: true })
}

/// Everything that is made: names below the root, and contents.
fn files() -> Result<Vec<(String, String)>> {
    let (mnist, defensive, parity) = (read("mnist")?, read("defensive")?, read("parity")?);
    let (readings, patterns) = (read("readings")?, read("readings-cifar10")?);
    let referee = read("referee")?;
    let mut sessions = Vec::new();
    for name in speed::SESSIONS {
        sessions.push((name, read(name)?));
    }
    let mut blocks: BTreeMap<_, _> = [
        ("results", results::summary(&mnist, &defensive, &parity)?),
        ("mnist", results::claims(&mnist)),
        ("readings", readings::sentence(&readings)),
        ("reading-tables", readings::tables(&readings)),
        ("patterns", patterns::table(&patterns)),
        ("referee", methods::sentence(&referee)),
        ("methods", methods::table(&referee)),
        ("parity", results::parity(&parity)),
        ("defended", results::defended(&defensive)),
    ]
    .into();
    blocks.extend(sessions.iter().map(|(name, session)| (*name, speed::table(session))));
    let mut files = Vec::new();
    for page in PAGES {
        let path = kd::root().join(page);
        let text = fs::read_to_string(&path).map_err(Failure::io(&path, "read"))?;
        files.push((page.to_owned(), filled(page, &text, &blocks)?));
    }
    let sessions: Vec<_> = sessions.into_iter().map(|(_, session)| session).collect();
    files.push(("xtask/results/mnist.svg".into(), results::picture(&mnist)));
    files.push(("xtask/results/speed.svg".into(), speed::picture(&sessions)));
    Ok(files)
}

fn read<T: DeserializeOwned>(name: &str) -> Result<T> {
    let path: PathBuf = kd::root().join("xtask/results").join(format!("{name}.json"));
    let text = fs::read_to_string(&path).map_err(Failure::io(&path, "read"))?;
    serde_json::from_str(&text)
        .map_err(|e| Failure::new(Code::BadData, format_args!("{}: {e}", path.display())))
}

/// `text` with each block in its place.
fn filled(page: &str, text: &str, blocks: &BTreeMap<&str, String>) -> Result<String> {
    let fault = |line: &str, what: &str| {
        Failure::new(Code::BadData, format_args!("{page}: `{}`: {what}", line.trim_end()))
    };
    let mut out = String::new();
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        out.push_str(line);
        let Some(name) = line.strip_prefix(BEGIN) else { continue };
        let name = name.trim_end().trim_end_matches(" -->");
        let block = blocks.get(name).ok_or_else(|| fault(line, "there is no such block"))?;
        if !lines.by_ref().any(|line| line.trim_end() == END) {
            return Err(fault(line, "its end is missing"));
        }
        out.push_str(&format!("{block}{END}\n"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_takes_the_place_of_what_was_there() {
        let blocks = BTreeMap::from([("a", "new\n".to_owned())]);
        let text = |inner: &str| format!("x\n{BEGIN}a -->\n{inner}{END}\ny\n");
        assert_eq!(filled("p", &text("old\nold\n"), &blocks).unwrap(), text("new\n"));
        assert_eq!(filled("p", &text("new\n"), &blocks).unwrap(), text("new\n"));
        let unknown = text("").replace("readme: a", "readme: b");
        for bad in [unknown, text("").replace(END, "")] {
            assert_eq!(filled("p", &bad, &blocks).unwrap_err().code(), 65, "{bad}");
        }
    }

    #[test]
    fn the_committed_pages_are_what_the_committed_results_give() {
        check().unwrap();
    }
}
