//! The values of activations, which may not be computed before they are needed.

use std::sync::OnceLock;

use super::Buffer;
use crate::ops::batch_norm::cpu::Affine;
use crate::ops::source::Source;

/// The values of an activation.
#[derive(Debug)]
pub(crate) struct Values {
    kind: Kind,
    /// Whether they are the output of a ReLU: then no gradient flows where they are zero.
    relu: bool,
}

#[derive(Debug)]
enum Kind {
    Plain(Buffer),
    /// `relu?(affine(rows))`, computed where a convolution reads it, or for all else once.
    Normed {
        rows: Buffer,
        affine: Affine,
        made: OnceLock<Buffer>,
    },
}

impl From<Buffer> for Values {
    fn from(values: Buffer) -> Self {
        Self { kind: Kind::Plain(values), relu: false }
    }
}

impl Values {
    /// Values that a ReLU may have made.
    pub(crate) fn after(values: Buffer, relu: bool) -> Self {
        Self { kind: Kind::Plain(values), relu }
    }

    /// `relu?(affine(rows) + residual)`; without a residual nothing is computed yet.
    pub(crate) fn normed(
        rows: Buffer,
        affine: Affine,
        residual: Option<&[f32]>,
        relu: bool,
    ) -> Self {
        let made = residual.map(|residual| affine.apply_and_add(&rows, residual, relu));
        let made = made.map_or_else(OnceLock::new, OnceLock::from);
        Self { kind: Kind::Normed { rows, affine, made }, relu }
    }

    /// Whether they are the output of a ReLU.
    pub(crate) fn relu(&self) -> bool {
        self.relu
    }

    pub(crate) fn get(&self) -> &[f32] {
        match &self.kind {
            Kind::Plain(values) => values,
            Kind::Normed { rows, affine, made } => {
                made.get_or_init(|| affine.apply(rows, self.relu))
            }
        }
    }

    pub(crate) fn into_buffer(self) -> Buffer {
        match self.kind {
            Kind::Plain(values) => values,
            Kind::Normed { rows, affine, made } => {
                made.into_inner().unwrap_or_else(|| affine.apply(&rows, self.relu))
            }
        }
    }

    /// The values before the affine map, where there is one.
    pub(crate) fn rows(&self) -> &[f32] {
        match &self.kind {
            Kind::Plain(values) => values,
            Kind::Normed { rows, .. } => rows,
        }
    }

    /// The values for a convolution.
    pub(crate) fn source(&self) -> Source<'_> {
        match &self.kind {
            Kind::Plain(values) => Source::Plain(values),
            Kind::Normed { rows, affine, made } => match made.get() {
                Some(made) => Source::Plain(made),
                None => Source::norm(rows, affine, self.relu),
            },
        }
    }
}
