//! When APGD looks back.

/// The steps after which the step size may be halved: `w_j = ceil(p_j n_steps)` with `p_0 = 0`,
/// `p_1 = 0.22` and `p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)`, up to 1. In whole percent,
/// where the published numbers are exact.
pub(super) fn checkpoints(n_steps: usize) -> Vec<usize> {
    let (mut percent, mut gap) = (22_usize, 22_usize);
    let mut steps = Vec::new();
    while percent < 100 {
        steps.push(n_steps.saturating_mul(percent).div_ceil(100));
        gap = (gap - 3).max(6);
        percent += gap;
    }
    steps.dedup();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_by_hand() {
        assert_eq!(checkpoints(100), [22, 41, 57, 70, 80, 87, 93, 99]);
        // 2.2, 4.1, 5.7, 7.0, 8.0, 8.7, 9.3 and 9.9, rounded up.
        assert_eq!(checkpoints(10), [3, 5, 6, 7, 8, 9, 10]);
        assert_eq!(checkpoints(1), [1]);
    }
}
