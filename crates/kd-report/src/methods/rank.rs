//! Where methods stand, and how sure that is.

use kd_core::Stream;
use serde::Serialize;

/// Sets of seeds that are drawn.
const N_DRAWS: usize = 2000;

/// The place of a method among all, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rank {
    /// One more than the number of methods whose mean is higher.
    pub place: usize,
    /// The places from the 5 % to the 95 % quantile when as many seeds are drawn from the seeds, with
    /// repetition: the bootstrap.
    pub range: [usize; 2],
}

/// The ranks of methods by their values with the same seeds; the draws are always the same.
pub(super) fn ranks(values: &[&[f64]]) -> Vec<Rank> {
    let n_seeds = values.iter().map(|of| of.len()).min().unwrap_or(0);
    let all: Vec<usize> = (0..n_seeds).collect();
    let mut rng = Stream::new(0).at("rank").rng();
    let mut drawn = vec![Vec::with_capacity(N_DRAWS); values.len()];
    for _ in 0..N_DRAWS {
        let seeds: Vec<usize> = all.iter().map(|_| rng.below(n_seeds as u32) as usize).collect();
        for (places, place) in drawn.iter_mut().zip(places(values, &seeds)) {
            places.push(place);
        }
    }
    let rank = |(place, mut drawn): (usize, Vec<usize>)| {
        drawn.sort_unstable();
        let range =
            [0.05, 0.95].map(|share| drawn[(share * (N_DRAWS - 1) as f64).round() as usize]);
        Rank { place, range }
    };
    places(values, &all).into_iter().zip(drawn).map(rank).collect()
}

/// One more than the number of methods whose sum over `seeds` is higher.
fn places(values: &[&[f64]], seeds: &[usize]) -> Vec<usize> {
    let sum = |of: &&[f64]| seeds.iter().map(|&seed| of[seed]).sum::<f64>();
    let sums: Vec<f64> = values.iter().map(sum).collect();
    sums.iter().map(|own| 1 + sums.iter().filter(|other| *other > own).count()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_sure_where_every_seed_says_the_same() {
        let values: [&[f64]; 3] = [&[0.5, 0.6], &[0.7, 0.8], &[0.1, 0.2]];
        let ranks = ranks(&values);
        let want = [2, 1, 3].map(|place| Rank { place, range: [place; 2] });
        assert_eq!(ranks, want);
    }

    /// Of two seeds each is drawn twice in a quarter of the draws.
    #[test]
    fn seeds_that_differ_leave_the_order_open() {
        let values: [&[f64]; 2] = [&[0.5, 0.8], &[0.6, 0.6]];
        let want = [Rank { place: 1, range: [1, 2] }, Rank { place: 2, range: [1, 2] }];
        assert_eq!(ranks(&values), want);
        let equal: [&[f64]; 2] = [&[0.5, 0.5], &[0.5, 0.5]];
        assert_eq!(ranks(&equal), [Rank { place: 1, range: [1, 1] }; 2]);
    }
}
