//! Inverted dropout: `y = x * mask / (1 - p)`.

pub(super) mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod op;

pub use op::Dropout;

use crate::{Error, Result, Stream};

/// Which values are kept.
pub(crate) fn mask(p: f32, stream: Stream) -> Result<cpu::Mask> {
    check_p(p)?;
    Ok(cpu::Mask::new(p, stream))
}

pub(super) fn check_p(p: f32) -> Result<()> {
    if (0.0..1.0).contains(&p) {
        return Ok(());
    }
    Err(Error::config("dropout", format!("{p} is not in [0, 1)")))
}
