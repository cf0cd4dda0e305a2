//! What the search makes of tables whose reading is known: each seed of each reading in turn is the paper, and the
//! other seeds are searched.

use kd_core::Stream;
use serde::Serialize;

use super::data::{Data, mean};
use super::evidence::{Evidence, posterior};

/// Tables of which the first few are listed one by one.
const N_DRAWN: usize = 10;
/// Probability of the smallest set of readings in which the true one is looked for.
const SET: f64 = 0.8;

/// How often the search was right about tables that were made by a known reading, with a seed that it did not see.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MadeUp {
    /// Tables: readings times seeds.
    pub n: usize,
    /// Share of them whose reading was the likeliest.
    pub first: f64,
    /// Share whose reading was among the three likeliest.
    pub first_three: f64,
    /// Share whose reading was in the smallest set of readings with a probability of 80 %.
    pub in_set: f64,
    /// Mean number of readings in such a set.
    pub set_size: f64,
    /// Places of the readings of ten tables drawn at random.
    pub drawn: Vec<usize>,
}

/// One table with a known reading.
struct Found {
    /// One more than the number of readings that were likelier.
    place: usize,
    in_set: bool,
    set_size: usize,
}

/// All of them; nothing for one seed or one reading.
pub(super) fn of(data: &Data, evidence: &Evidence) -> Option<MadeUp> {
    if data.n_seeds < 2 || data.values.len() < 2 {
        return None;
    }
    let all: Vec<Found> =
        (0..data.n_seeds).flat_map(|seed| of_seed(data, evidence, seed)).collect();
    let share = |is: &dyn Fn(&Found) -> bool| {
        all.iter().filter(|found| is(found)).count() as f64 / all.len() as f64
    };
    let sizes: usize = all.iter().map(|found| found.set_size).sum();
    let places = Stream::new(0).at("papers").permutation(all.len() as u32);
    Some(MadeUp {
        n: all.len(),
        first: share(&|found| found.place == 1),
        first_three: share(&|found| found.place <= 3),
        in_set: share(&|found| found.in_set),
        set_size: sizes as f64 / all.len() as f64,
        drawn: places.iter().take(N_DRAWN).map(|&i| all[i as usize].place).collect(),
    })
}

/// The tables of one seed, each searched among the means of the others.
fn of_seed(data: &Data, evidence: &Evidence, seed: usize) -> Vec<Found> {
    let others = |values: &Vec<f64>| {
        let rest = values.iter().enumerate().filter(|(i, _)| *i != seed).map(|(_, value)| *value);
        mean(&rest.collect::<Vec<_>>())
    };
    let means: Vec<Vec<f64>> =
        data.values.iter().map(|numbers| numbers.iter().map(others).collect()).collect();
    let one = |(truth, numbers): (usize, &Vec<Vec<f64>>)| {
        let table: Vec<f64> = numbers.iter().map(|values| values[seed]).collect();
        let distances = evidence.distances(&table, &means, data.n_seeds - 1);
        found(truth, &posterior(&distances, &vec![0.0; distances.len()]))
    };
    data.values.iter().enumerate().map(one).collect()
}

fn found(truth: usize, posterior: &[f64]) -> Found {
    let own = posterior[truth];
    let likelier = || posterior.iter().filter(|p| **p > own);
    let mut sorted = posterior.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let before = |i: usize| sorted[..i].iter().sum::<f64>();
    Found {
        place: 1 + likelier().count(),
        in_set: likelier().sum::<f64>() < SET,
        set_size: (0..sorted.len()).take_while(|&i| before(i) < SET).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_sets_by_hand() {
        let posterior = [0.1, 0.5, 0.35, 0.05];
        let place = |truth| found(truth, &posterior).place;
        assert_eq!([0, 1, 2, 3].map(place), [3, 1, 2, 4]);
        let is_in = |truth| found(truth, &posterior).in_set;
        assert_eq!([0, 1, 2, 3].map(is_in), [false, true, true, false], "0.5 + 0.35 > 0.8");
        assert_eq!(found(0, &posterior).set_size, 2);
    }
}
