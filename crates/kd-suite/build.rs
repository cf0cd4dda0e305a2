//! Records which source the program was built from, for the provenance of its results.

use std::path::Path;
use std::process::Command;

fn main() {
    let root = Path::new("../..");
    println!("cargo:rustc-env=KD_COMMIT={}", commit().unwrap_or_else(|| "unknown".into()));
    println!("cargo:rustc-env=CANDLE_VERSION={}", candle_version(root));
    for file in [".git/HEAD", ".git/index", "Cargo.lock"] {
        let path = root.join(file);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
}

fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+dirty"]);
    // Git writes its index anew meanwhile: into a copy, or cargo would take the next build for one of another
    // source.
    let copy = Path::new(&std::env::var_os("OUT_DIR")?).join("index");
    if std::fs::copy("../../.git/index", &copy).is_ok() {
        git.env("GIT_INDEX_FILE", copy);
    }
    let git = git.output().ok()?;
    let commit = String::from_utf8(git.stdout).ok()?.trim().to_owned();
    (git.status.success() && !commit.is_empty()).then_some(commit)
}

fn candle_version(root: &Path) -> String {
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"candle-core\"");
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = "));
    version.unwrap_or("unknown").trim_matches('"').to_owned()
}
