//! How a command fails: an exit code and one line that says what, where and what to do.

use std::fmt::Display;
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::process::ExitStatus;

/// Result of xtask's functions.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Exit codes of xtask's own failures; `kd` uses the same and a few more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Internal = 1,
    Usage = 2,
    BadData = 65,
    MissingInput = 66,
    Unavailable = 69,
    CannotCreate = 73,
    Io = 74,
}

/// Why a command ends with another exit code than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// xtask's own, with its one line.
    Own(Code, String),
    /// A child has said what went wrong; its exit code is passed on.
    Child(u8),
}

impl Failure {
    /// One of xtask's own.
    pub(crate) fn new(code: Code, message: impl Display) -> Self {
        Self::Own(code, message.to_string())
    }

    /// Turns an I/O error into a failure that names file and action; for `map_err`.
    pub(crate) fn io(path: &Path, action: &str) -> impl FnOnce(Error) -> Self {
        move |error| {
            let code = match (error.kind(), action) {
                (ErrorKind::StorageFull | ErrorKind::QuotaExceeded, _) => Code::Io,
                (_, "create") => Code::CannotCreate,
                _ => Code::Io,
            };
            Self::new(code, format_args!("{}: cannot {action}: {error}", path.display()))
        }
    }

    /// Turns the error of starting `program` into a failure; for `map_err`.
    pub(crate) fn start(program: &Path) -> impl FnOnce(Error) -> Self {
        move |error| {
            let line = format!("{}: cannot be started: {error}", program.display());
            Self::new(Code::MissingInput, line)
        }
    }

    /// `Ok` for a child that ended with 0, else its exit code (128 + n after signal n).
    pub(crate) fn from_status(status: ExitStatus) -> Result<()> {
        use std::os::unix::process::ExitStatusExt;
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        match code {
            0 => Ok(()),
            code => Err(Self::Child(u8::try_from(code).unwrap_or(1))),
        }
    }

    /// The exit code of the process.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Own(code, _) => *code as u8,
            Self::Child(code) => *code,
        }
    }

    /// Says on stderr what went wrong, unless a child has done so.
    pub(crate) fn print(&self) {
        if let Self::Own(_, message) = self {
            eprintln!("error: {message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn exit_codes_of_children_are_passed_on() {
        // Wait statuses: the exit code in the second byte, a signal in the first.
        assert!(Failure::from_status(ExitStatus::from_raw(0)).is_ok());
        let code = |raw| Failure::from_status(ExitStatus::from_raw(raw)).unwrap_err().code();
        assert_eq!(code(75 << 8), 75);
        assert_eq!(code(9), 137);
    }

    #[test]
    fn a_full_disk_is_no_missing_permission() {
        let code =
            |kind: ErrorKind, action| Failure::io(Path::new("a"), action)(kind.into()).code();
        assert_eq!(code(ErrorKind::PermissionDenied, "create"), 73);
        assert_eq!(code(ErrorKind::StorageFull, "create"), 74);
        assert_eq!(code(ErrorKind::StorageFull, "write"), 74);
    }
}
