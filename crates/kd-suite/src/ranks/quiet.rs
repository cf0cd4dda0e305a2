//! Ranks that say nothing but what is wrong: the first one speaks for all.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use kd_core::{Error, Result};

/// Where errors go, once all else goes nowhere.
static STDERR: OnceLock<File> = OnceLock::new();

/// From now on what is written to stderr goes nowhere, but for what [`tell`] says and panics.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn be_quiet() -> Result<()> {
    let failed = || Error::io("stderr", "redirect");
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(failed())?;
    let nowhere = OpenOptions::new().write(true).open("/dev/null").map_err(failed())?;
    rustix::stdio::dup2_stderr(&nowhere).map_err(|e| failed()(e.into()))?;
    let _ = STDERR.set(stderr.into());
    std::panic::set_hook(Box::new(|panic| tell(&panic.to_string())));
    Ok(())
}

/// Says what is wrong.
pub(super) fn tell(text: &str) {
    let line = format!("kd: {text}\n");
    let written = match STDERR.get() {
        Some(mut stderr) => stderr.write_all(line.as_bytes()),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
    // There is nowhere to say that nothing can be said.
    drop(written);
}
