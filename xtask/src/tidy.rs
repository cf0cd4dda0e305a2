//! The house rules that a program can check: layers between crates, sizes of files, what must
//! not be left in the code.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::failure::{Code, Failure, Result};
use crate::lines::n_code_lines;
use crate::{circles, kd};

/// Lines of code in a file, its tests not counted.
const MAX_LINES: usize = 400;
/// Bytes of a file under version control.
const MAX_BYTES: u64 = 100 * 1024;
/// cargo's own; it grows with the dependencies.
const LARGE: [&str; 1] = ["Cargo.lock"];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
}

/// Checks all rules.
///
/// # Errors
/// [`Code::Internal`] after each finding was printed; that git or cargo failed.
pub(crate) fn run() -> Result<()> {
    let mut findings = layers(&metadata()?);
    for name in tracked()? {
        let path = kd::root().join(&name);
        // A file that is deleted but not yet so in git.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.len() > MAX_BYTES && !LARGE.contains(&name.as_str()) {
            findings.push(format!("{name}: {} bytes, more than {MAX_BYTES}", metadata.len()));
        }
        if is_code(&name) {
            let text = fs::read_to_string(&path).map_err(Failure::io(&path, "read"))?;
            findings.extend(text_findings(&name, &text));
        }
    }
    findings.extend(circles()?);
    findings.iter().for_each(|finding| eprintln!("{finding}"));
    match findings.len() {
        0 => Ok(()),
        n => Err(Failure::new(Code::Internal, format_args!("{n} house rules broken"))),
    }
}

/// Files that import each other, in any crate of ours.
fn circles() -> Result<Vec<String>> {
    let crates = kd::root().join("crates");
    let mut folders = vec![kd::root().join("xtask")];
    for entry in fs::read_dir(&crates).map_err(Failure::io(&crates, "list"))? {
        folders.push(entry.map_err(Failure::io(&crates, "list"))?.path());
    }
    folders.sort();
    let mut findings = Vec::new();
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let circle =
            |files: Vec<String>| format!("{name}: a circle of imports: {}", files.join(", "));
        findings.extend(circles::of_crate(&folder.join("src"))?.into_iter().map(circle));
    }
    Ok(findings)
}

fn metadata() -> Result<Metadata> {
    let mut cargo = kd::cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    serde_json::from_slice(&stdout(&mut cargo)?)
        .map_err(|e| Failure::new(Code::Internal, format_args!("cargo metadata: {e}")))
}

fn tracked() -> Result<Vec<String>> {
    let mut git = Command::new("git");
    let names = stdout(git.args(["ls-files", "-z"]).current_dir(kd::root()))?;
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

fn stdout(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_owned();
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(Failure::start(Path::new(&program)))?;
    Failure::from_status(output.status)?;
    Ok(output.stdout)
}

/// The layer of a crate of ours; one uses only crates in layers below its own.
fn layer(name: &str) -> Option<u32> {
    match name {
        "kd-core" => Some(0),
        "kd-models" | "kd-data" | "kd-train" | "kd-adv" | "kd-report" => Some(1),
        "kd-suite" => Some(2),
        "kd-ship" => Some(3),
        "kd-cli" => Some(4),
        "kd-tests" => Some(5),
        _ => None,
    }
}

fn layers(metadata: &Metadata) -> Vec<String> {
    metadata.packages.iter().flat_map(package_findings).collect()
}

fn package_findings(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let used = package.dependencies.iter().map(|dependency| dependency.name.as_str());
    if name == "xtask" {
        let heavy = used.filter(|used| used.starts_with("kd-") || used.starts_with("candle"));
        return heavy.map(|used| format!("xtask uses {used}; it must start in seconds")).collect();
    }
    let Some(own) = layer(name) else {
        return vec![format!("{name} has no layer; give it one in xtask/src/tidy.rs")];
    };
    used.filter(|used| layer(used).is_some_and(|other| other >= own))
        .map(|used| format!("{name} uses {used}, which is not in a layer below it"))
        .collect()
}

fn is_code(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("rs" | "cu" | "toml" | "py" | "sh")) || name.starts_with(".ci/")
}

fn text_findings(name: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let n_lines = n_code_lines(text);
    let is_test = name.starts_with("tests/") || name.ends_with("tests.rs");
    if name.ends_with(".rs") && !is_test && n_lines > MAX_LINES {
        findings.push(format!("{name}: {n_lines} lines of code, more than {MAX_LINES}"));
    }
    // In two pieces, so that this file passes.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("dbg", "!(")];
    for (i, line) in text.lines().enumerate() {
        let found = marks.iter().filter(|mark| line.contains(**mark));
        findings.extend(found.map(|mark| format!("{name}:{}: {mark}", i + 1)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[&str]) -> Package {
        let dependencies = uses.iter().map(|name| Dependency { name: (*name).into() }).collect();
        Package { name: name.into(), dependencies }
    }

    #[test]
    fn a_crate_uses_only_layers_below() {
        let n = |name, uses: &[&str]| package_findings(&package(name, uses)).len();
        assert_eq!(n("kd-cli", &["kd-core", "kd-suite", "clap"]), 0);
        assert_eq!(n("kd-suite", &["kd-train", "kd-adv", "kd-cli"]), 1);
        assert_eq!(n("kd-train", &["kd-core", "candle-core"]), 0);
        assert_eq!(n("kd-tests", &["kd-core", "kd-cli"]), 0);
        assert_eq!(n("kd-train", &["kd-data", "kd-models", "kd-core"]), 2);
        assert_eq!(n("kd-core", &["kd-data"]), 1);
        assert_eq!(n("xtask", &["kd-core", "candle-core", "clap"]), 2);
        assert_eq!(n("kd-new", &[]), 1);
    }

    #[test]
    fn lines_are_counted_up_to_the_tests() {
        let code = "x\n".repeat(MAX_LINES);
        let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &code;
        assert!(text_findings("a.rs", &(code.clone() + &tests)).is_empty());
        assert_eq!(text_findings("a.rs", &(code.clone() + "y\n")).len(), 1);
        assert!(text_findings("tests/it/a.rs", &(code + "y\n")).is_empty());
        assert_eq!(n_code_lines("#[cfg(test)]\npub(crate) fn helper() {}\nx"), 3);
    }

    #[test]
    fn what_was_left_open_is_found_with_its_line() {
        let text = format!("fine\n// {} later", concat!("TO", "DO"));
        let want = format!("a.py:2: {}", concat!("TO", "DO"));
        assert_eq!(text_findings("a.py", &text), [want]);
    }
}
