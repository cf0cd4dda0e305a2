//! What a part of a file is, or what is wrong with it.

/// What was asked for, or why it cannot be, in words; the place is added further out.
pub(super) type Checked<T> = std::result::Result<T, String>;
