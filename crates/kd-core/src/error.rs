//! What can go wrong below the program: typed, with fields, one line each.

use std::path::PathBuf;

/// Result of kd's library functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has another shape than the operation is defined for.
    #[error("{what}: expected shape {expected}, got {got:?}")]
    Shape {
        /// The argument or tensor, by name.
        what: String,
        /// The shape in words, such as `(N, 10)`.
        expected: String,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// A setting is outside its domain.
    #[error("`{field}`: {reason}")]
    Config {
        /// Name of the setting, as written in a suite file.
        field: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A file's content is not what its format asks for.
    #[error("{}: at byte {offset}: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where in the (decompressed) content the fault was seen.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A file's digest differs from the recorded one.
    #[error("{}: damaged: sha256 is {got}, expected {expected}; delete it and make it again", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The recorded digest, hexadecimal.
        expected: String,
        /// The digest of what is there, hexadecimal.
        got: String,
    },
    /// An input file or folder is not there.
    #[error("{}: not found; {hint}", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// What to do.
        hint: String,
    },
    /// A folder does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Another process works on this folder.
    #[error(
        "{}: in use by process {pid} on {host}; wait for it or choose another --out", path.display()
    )]
    Busy {
        /// The folder.
        path: PathBuf,
        /// The owner's machine.
        host: String,
        /// Process id of the owner.
        pid: u32,
    },
    /// Training left the finite numbers.
    #[error("{what} is not finite at epoch {epoch}, step {step}; lower the learning rate")]
    Diverged {
        /// The model and quantity.
        what: String,
        /// Epoch, counted from 1.
        epoch: u64,
        /// Step within the epoch, counted from 1.
        step: u64,
    },
    /// The operating system refused a file operation.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, such as `read` or `create`.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another process of this training cannot be reached.
    #[error("rank {rank}: {reason}")]
    Rank {
        /// Which one.
        rank: usize,
        /// What is wrong and what to do.
        reason: String,
    },
    /// candle refused a tensor operation.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// An [`Error::Config`] for `field`.
    pub fn config(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config { field: field.into(), reason: reason.into() }
    }

    /// An [`Error::Parse`] for the whole of `path`.
    pub fn parse(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Parse { path: path.into(), offset: 0, reason: reason.into() }
    }

    /// An [`Error::Shape`] for `what`.
    pub fn shape(what: impl Into<String>, expected: impl Into<String>, got: &[usize]) -> Self {
        Self::Shape { what: what.into(), expected: expected.into(), got: got.to_vec() }
    }

    /// Turns an I/O error into an [`Error::Io`] that names file and action; for `map_err`.
    pub fn io(
        path: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, action, source }
    }
}

impl From<Error> for candle_core::Error {
    /// For candle's traits, whose methods return candle's error.
    fn from(error: Error) -> Self {
        Self::wrap(error)
    }
}
