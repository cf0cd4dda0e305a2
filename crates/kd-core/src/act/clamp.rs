//! ReLU and its kin, which can be joined with what comes before and after them.

/// `min(max(x, low), high)`: ReLU is `[0, inf)`, ReLU6 `[0, 6]`; its gradient is 0 at and beyond the
/// ends, so that it can be told from the output alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clamp {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Clamp {
    /// Leaves everything as it is, what is not a number too.
    pub(crate) const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// `max(x, 0)`.
    pub(crate) const RELU: Self = Self { low: 0.0, high: f32::INFINITY };

    /// Whether it leaves everything as it is.
    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Clamps `values`; for loops that are vectorized.
    #[inline(always)]
    pub(crate) fn apply(self, values: &mut [f32]) {
        if self.is_none() {
            return;
        }
        for value in values {
            *value = value.max(self.low).min(self.high);
        }
    }

    /// `grad = 0` where the output `y` lies at an end; for loops that are vectorized.
    #[inline(always)]
    pub(crate) fn mask(self, grad: &mut [f32], y: &[f32]) {
        for (g, y) in grad.iter_mut().zip(y) {
            *g = if (*y > self.low) & (*y < self.high) { *g } else { 0.0 };
        }
    }
}
