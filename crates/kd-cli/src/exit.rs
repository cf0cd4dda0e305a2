//! How commands end: what they print last, and their exit codes, those of BSD's `sysexits` where one fits.

use std::fmt::Display;
use std::io::ErrorKind;
use std::process::ExitCode;

use kd_core::Error;
use kd_suite::World;
use serde::Serialize;

/// The run was stopped and can be resumed by the same command.
pub(crate) const INTERRUPTED: u8 = 75;
const INTERNAL: u8 = 1;
const DIVERGED: u8 = 3;
const BAD_DATA: u8 = 65;
const MISSING: u8 = 66;
const CANNOT_CREATE: u8 = 73;
const IO: u8 = 74;
const BAD_CONFIG: u8 = 78;

/// An end of which all is told but the exit code.
#[derive(Debug, thiserror::Error)]
#[error("ended with exit code {0}")]
struct Ended(u8);

/// What a command came to; says that the same command goes on where it was stopped.
pub(crate) fn finished<T>(result: Option<T>) -> anyhow::Result<T> {
    result.ok_or_else(|| {
        eprintln!("interrupted; the same command goes on from here");
        Ended(INTERRUPTED).into()
    })
}

/// Prints what a command came to, as one JSON object or for people.
pub(crate) fn print(result: &(impl Serialize + Display), json: bool) -> anyhow::Result<()> {
    print_as(result, json, result)
}

/// Prints what a command came to, as one JSON object, or `text`.
pub(crate) fn print_as(
    result: &impl Serialize,
    json: bool,
    text: impl Display,
) -> anyhow::Result<()> {
    match json {
        true => println!("{}", serde_json::to_string(result)?),
        false => println!("{text}"),
    }
    Ok(())
}

/// The end after something could not be read, and was named, unless all is good.
pub(crate) fn require_good(is_good: bool) -> anyhow::Result<()> {
    if is_good { Ok(()) } else { Err(Ended(BAD_DATA).into()) }
}

/// What a command of several processes came to: where one has failed, all end.
pub(crate) fn end_all(result: anyhow::Result<()>, world: &World) -> anyhow::Result<()> {
    if let Err(error) = &result
        && error.downcast_ref::<Ended>().is_none()
    {
        world.fail(&text(error), code_of(error));
    }
    result
}

/// The exit code of a command that ended so; an error is told in one line.
pub(crate) fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    ExitCode::from(match error.downcast_ref() {
        Some(Ended(code)) => *code,
        None => {
            eprintln!("kd: {}", text(&error));
            code_of(&error)
        }
    })
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

fn code_of(error: &anyhow::Error) -> u8 {
    match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::Config { .. } | Error::Shape { .. }) => BAD_CONFIG,
        Some(Error::Parse { .. } | Error::Checksum { .. } | Error::Folder { .. }) => BAD_DATA,
        Some(Error::Missing { .. }) => MISSING,
        Some(Error::Busy { .. }) => CANNOT_CREATE,
        Some(Error::Diverged { .. }) => DIVERGED,
        Some(Error::Rank { .. }) => INTERRUPTED,
        Some(Error::Io { action: "create", source, .. })
            if source.kind() != ErrorKind::StorageFull =>
        {
            CANNOT_CREATE
        }
        Some(Error::Io { .. }) => IO,
        _ => INTERNAL,
    }
}
