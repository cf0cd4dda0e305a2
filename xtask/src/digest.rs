//! SHA-256.

use sha2::{Digest, Sha256};

/// Digest of `bytes`, hexadecimal.
#[cfg(test)]
pub(crate) fn of(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

/// The digest in hexadecimal.
pub(crate) fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
