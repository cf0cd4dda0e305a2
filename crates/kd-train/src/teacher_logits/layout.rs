//! What the header of a file of logits says.

use half::f16;

/// Numbers of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F16,
    F32,
    F64,
}

/// Where a file's numbers are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) start: u64,
    /// Their bytes, where the header says it; else those up to the end of the file.
    pub(super) n_bytes: Option<u64>,
}

/// What a header says.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) kind: Kind,
    pub(super) shape: Vec<usize>,
    pub(super) place: Place,
    /// Digest of the list of images that the rows follow, where the file says it.
    pub(super) list: Option<String>,
}

impl Kind {
    pub(super) fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Numbers as f32.
    pub(super) fn read(self, bytes: &[u8], out: &mut [f32]) {
        let numbers = bytes.chunks_exact(self.size()).zip(out);
        numbers.for_each(|(bytes, out)| {
            *out = match (self, bytes) {
                (Self::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
                (Self::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
                (_, bytes) => bytes.try_into().map_or(f32::NAN, |b| f64::from_le_bytes(b) as f32),
            }
        });
    }
}

impl Layout {
    /// Whether so many numbers lie in a file of `len` bytes.
    pub(super) fn fits(&self, len: u64) -> bool {
        let n = self.shape.iter().try_fold(1, |n: usize, d| n.checked_mul(*d));
        let Some(n_bytes) = n.and_then(|n| n.checked_mul(self.kind.size())) else { return false };
        let (n_bytes, Place { start, n_bytes: said }) = (n_bytes as u64, self.place);
        let end = start.checked_add(n_bytes);
        match said {
            Some(said) => said == n_bytes && end.is_some_and(|end| end <= len),
            None => end == Some(len),
        }
    }
}
