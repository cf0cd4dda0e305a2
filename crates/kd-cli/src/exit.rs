//! Exit codes, those of BSD's `sysexits` where one fits.

use std::io::ErrorKind;
use std::process::ExitCode;

use kd_core::Error;

/// The run was stopped and can be resumed by the same command.
pub(crate) const INTERRUPTED: u8 = 75;
const INTERNAL: u8 = 1;
const DIVERGED: u8 = 3;
const BAD_DATA: u8 = 65;
const MISSING: u8 = 66;
const CANNOT_CREATE: u8 = 73;
const IO: u8 = 74;
const BAD_CONFIG: u8 = 78;

/// Says that the same command goes on, and gives the exit code for it.
pub(crate) fn interrupted() -> ExitCode {
    eprintln!("interrupted; the same command goes on from here");
    ExitCode::from(INTERRUPTED)
}

/// Something that was to be read could not be, and was named.
pub(crate) fn bad_data() -> ExitCode {
    ExitCode::from(BAD_DATA)
}

/// Prints `error` in one line and gives its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("kd: {}", text(error));
    ExitCode::from(code(error))
}

/// The causes, joined by colons; one that its effect has told already is not told again.
fn text(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        match told.as_str() {
            "" => cause,
            told if told.ends_with(&cause) => told.to_owned(),
            told => format!("{told}: {cause}"),
        }
    })
}

fn code(error: &anyhow::Error) -> u8 {
    match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::Config { .. } | Error::Shape { .. }) => BAD_CONFIG,
        Some(Error::Parse { .. } | Error::Checksum { .. } | Error::Folder { .. }) => BAD_DATA,
        Some(Error::Missing { .. }) => MISSING,
        Some(Error::Busy { .. }) => CANNOT_CREATE,
        Some(Error::Diverged { .. }) => DIVERGED,
        Some(Error::Io { action: "create", source, .. })
            if source.kind() != ErrorKind::StorageFull =>
        {
            CANNOT_CREATE
        }
        Some(Error::Io { .. }) => IO,
        _ => INTERNAL,
    }
}
