//! Builds the program `kd` and prepares calls of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failure::{Code, Failure, Result};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The cargo that started us, in the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(root());
    command
}

/// Builds `kd` in release, with cargo's progress on stderr, and returns a call of it in the root
/// of the workspace; further paths must be absolute or relative to that.
///
/// # Errors
/// cargo's exit code when it does not build.
pub(crate) fn build() -> Result<Command> {
    build_with(cargo(), &["--package", "kd-cli"])
}

/// The program that times pieces of work, as [`build`].
///
/// # Errors
/// As [`build`].
pub(crate) fn build_bench() -> Result<Command> {
    build_with(cargo(), &["--package", "kd-suite", "--bench", "kd"])
}

/// [`build`] for the device that `--device` names: with CUDA for a GPU.
///
/// # Errors
/// As [`build`]; what `xtask/cuda/cuda.sh` lacks.
pub(crate) fn build_for(device: Option<&str>) -> Result<Command> {
    if device.is_none_or(|device| !device.starts_with("cuda")) {
        return build();
    }
    build_with(cuda(), &["--package", "kd-cli", "--features", "cuda"])
}

/// cargo for the feature `cuda`, in the root of the workspace.
pub(crate) fn cuda() -> Command {
    let mut command = Command::new(root().join("xtask/cuda/cuda.sh"));
    command.current_dir(root());
    command
}

fn build_with(mut cargo: Command, what: &[&str]) -> Result<Command> {
    cargo.args(["build", "--release"]).args(what);
    cargo.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = cargo.output().map_err(Failure::start(Path::new("cargo")))?;
    Failure::from_status(output.status)?;
    let program = executable(&output.stdout)
        .ok_or_else(|| Failure::new(Code::Internal, "cargo built no program `kd`"))?;
    let mut kd = Command::new(program);
    kd.current_dir(root());
    Ok(kd)
}

/// Where cargo says that it put `kd`: one JSON object a line, among them that of the artifact.
fn executable(messages: &[u8]) -> Option<PathBuf> {
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "kd")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages =
            br#"{"reason":"compiler-artifact","target":{"name":"kd_core"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"kd"},"executable":"/t/release/kd"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/release/kd")));
        assert_eq!(executable(b""), None);
    }
}
