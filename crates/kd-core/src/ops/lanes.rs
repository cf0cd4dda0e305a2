//! Sums and maxima along a row, in the same order at every vector width.

/// Sums that are formed side by side: enough for the longest vectors, twice, so that one addition
/// does not wait for another.
const LANES: usize = 32;

/// `f(0) + f(1) + ..` of the values at each place of `rows`, all of one length; for loops that are
/// vectorized.
#[inline(always)]
pub(crate) fn sum<const N: usize>(rows: [&[f32]; N], f: impl Fn([f32; N]) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let len = rows[0].len();
    let rows = rows.map(|row| &row[..len]);
    let whole = len - len % LANES;
    for first in (0..whole).step_by(LANES) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += f(std::array::from_fn(|i| rows[i][first + lane]));
        }
    }
    for (place, sum) in (whole..len).zip(&mut sums) {
        *sum += f(std::array::from_fn(|i| rows[i][place]));
    }
    halved(sums, |a, b| a + b)
}

/// The largest value of `row`; what is not a number counts for nothing.
#[inline(always)]
pub(crate) fn max(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for row in row.chunks(LANES) {
        for (max, value) in lanes.iter_mut().zip(row) {
            *max = if *value > *max { *value } else { *max };
        }
    }
    halved(lanes, f32::max)
}

/// All lanes in one, half by half.
#[inline(always)]
fn halved(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut n = LANES;
    while n > 1 {
        n /= 2;
        for lane in 0..n {
            lanes[lane] = join(lanes[lane], lanes[lane + n]);
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "each is exact")]
    fn rows_of_every_length_are_summed_whole() {
        for len in 0..100 {
            let row: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let want: f32 = row.iter().map(|x| x * x).sum();
            assert_eq!(sum([&row, &row], |[a, b]| a * b), want);
            assert_eq!(max(&row), row.last().copied().unwrap_or(f32::NEG_INFINITY));
        }
    }
}
