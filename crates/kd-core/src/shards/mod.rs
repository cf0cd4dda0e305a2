//! A batch in shards, which ranks share.
//!
//! Key decision: a batch is cut into a number of shards that the plan says, and what is summed over images is
//! summed within each shard, and then over the shards in one binary tree: `((0 1) (2 3)) ((4 5) (6 7))`. A
//! rank has a whole branch of that tree, whatever the number of ranks, so that each sum has the same bits
//! on one machine and on many.
//!
//! Key decision: ranks add up gradients by recursive halving, which goes along that tree, and leaves each with
//! the sums of a part of the parameters. It moves that part, and the values come together by recursive
//! doubling (Rabenseifner 2004 sends the sums back themselves, and each rank then does the same work). Each rank
//! sends, and receives, twice the size of the gradients at most, for any number of ranks and shards. Gathering
//! the shards' gradients would take that size times the number of shards.

mod part;
mod traffic;
mod tree;

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::collective::{Collective, Single};
use crate::{Error, Result};

pub use part::Part;
pub use traffic::{Lane, Sent, Traffic};
pub(crate) use tree::pairs;

/// How batches are cut, and which ranks share the shards.
#[derive(Debug, Clone)]
pub struct Shards {
    n: usize,
    ranks: Arc<dyn Collective>,
    traffic: Arc<Traffic>,
    /// What the last rank sent, kept since memory of its size is slow to come by.
    received: Arc<Mutex<Vec<f32>>>,
}

/// One of the swaps in which ranks divide values among them.
struct Halving {
    other: usize,
    /// What stays here,
    kept: Range<usize>,
    /// and what the other rank gets.
    given: Range<usize>,
}

impl Shards {
    /// `n` shards of each batch, which `ranks` share.
    ///
    /// # Errors
    /// [`Error::Config`] when `n` is no power of two, and when the ranks cannot share it evenly.
    pub fn new(n: usize, ranks: Arc<dyn Collective>) -> Result<Self> {
        if !n.is_power_of_two() {
            let reason = format!("is {n}; a sum over shards is a tree: give a power of two");
            return Err(Error::config("shards", reason));
        }
        if !n.is_multiple_of(ranks.n_ranks()) {
            let reason = format!(
                "{n} shards of a batch cannot be shared by {} ranks evenly; give a power of two of ranks, \
                 no more than shards",
                ranks.n_ranks()
            );
            return Err(Error::config("shards", reason));
        }
        Ok(Self { n, ranks, ..Self::whole() })
    }

    /// One shard on one rank: the batch as it is.
    pub fn whole() -> Self {
        let (traffic, received) = Default::default();
        Self { n: 1, ranks: Arc::new(Single), traffic, received }
    }

    /// Those of this rank.
    pub fn own(&self) -> Range<usize> {
        let n = self.n / self.ranks.n_ranks();
        self.ranks.rank() * n..(self.ranks.rank() + 1) * n
    }

    /// The rows of `shard` in a batch of `n_rows`.
    pub fn rows(&self, shard: usize, n_rows: usize) -> Range<usize> {
        n_rows * shard / self.n..n_rows * (shard + 1) / self.n
    }

    /// What has been sent so far.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Whether any rank says so.
    ///
    /// # Errors
    /// As [`Shards::sum`].
    pub fn any(&self, says: bool) -> Result<bool> {
        let n_own = self.own().len();
        let sums = self.sum(vec![vec![f64::from(u8::from(says))]; n_own])?;
        Ok(sums[0] > 0.0)
    }

    /// The sums over all shards, from those of each shard of this rank; to all ranks.
    ///
    /// # Errors
    /// [`Error::Rank`] when another rank is gone.
    pub fn sum(&self, parts: Vec<Vec<f64>>) -> Result<Vec<f64>> {
        self.join(parts, &|sum, other| sum.iter_mut().zip(other).for_each(|(a, b)| *a += b))
    }

    /// What all ranks have, one after another; each must have as much.
    ///
    /// # Errors
    /// As [`Shards::sum`].
    pub fn gather(&self, mut own: Vec<f64>) -> Result<Vec<f64>> {
        for other in self.partners() {
            let mut theirs = self.swap_sums(other, &own)?;
            if other < self.ranks.rank() {
                std::mem::swap(&mut own, &mut theirs);
            }
            own.append(&mut theirs);
        }
        Ok(own)
    }

    /// Which of the ranks this is, and how many there are.
    pub fn place(&self) -> (usize, usize) {
        (self.ranks.rank(), self.ranks.n_ranks())
    }

    /// The same for what is joined otherwise than by addition: the first with the next.
    pub(crate) fn join(
        &self,
        mut parts: Vec<Vec<f64>>,
        join: &dyn Fn(&mut Vec<f64>, &[f64]),
    ) -> Result<Vec<f64>> {
        for (first, next) in pairs(parts.len()) {
            let (before, after) = parts.split_at_mut(next);
            join(&mut before[first], &after[0]);
        }
        let mut own = parts.swap_remove(0);
        for other in self.partners() {
            let mut theirs = self.swap_sums(other, &own)?;
            if other < self.ranks.rank() {
                std::mem::swap(&mut own, &mut theirs);
            }
            join(&mut own, &theirs);
        }
        Ok(own)
    }

    /// Whether there are several ranks.
    pub fn are_shared(&self) -> bool {
        self.ranks.n_ranks() > 1
    }

    /// Adds the `values` of all ranks, each the sum over its own shards. Of the sums this rank gets its
    /// [`Shards::own_part`]; its other values are of no use any more.
    ///
    /// # Errors
    /// As [`Shards::sum`].
    pub(crate) fn reduce(&self, values: &mut [f32]) -> Result<()> {
        let mut received = self.received.lock();
        for Halving { other, kept, given } in self.halvings(values.len()) {
            let n_received = received.len().max(kept.len());
            received.resize(n_received, 0.0);
            let received = &mut received[..kept.len()];
            self.swap(other, &values[given], received)?;
            values[kept].iter_mut().zip(received).for_each(|(sum, v)| *sum += *v);
        }
        Ok(())
    }

    /// Brings to all ranks the values that each has in its [`Shards::own_part`].
    ///
    /// # Errors
    /// As [`Shards::sum`].
    pub fn spread(&self, values: &mut [f32]) -> Result<()> {
        for Halving { other, kept, given } in self.halvings(values.len()).into_iter().rev() {
            let (before, after) = values.split_at_mut(kept.start.max(given.start));
            let (from, to) = if kept.end <= given.start {
                (&before[kept], &mut after[..given.len()])
            } else {
                (&after[..kept.len()], &mut before[given])
            };
            self.swap(other, from, to)?;
        }
        Ok(())
    }

    /// Which of `n` values this rank has the sums of: all, where there is no other.
    pub fn own_part(&self, n: usize) -> Range<usize> {
        self.halvings(n).pop().map_or(0..n, |last| last.kept)
    }

    /// How this rank and those that it meets halve `n` values among them, one after another.
    fn halvings(&self, n: usize) -> Vec<Halving> {
        let halve = |all: &mut Range<usize>, other| {
            let middle = all.start + all.len() / 2;
            let (low, high) = (all.start..middle, middle..all.end);
            let (kept, given) = if other > self.ranks.rank() { (low, high) } else { (high, low) };
            *all = kept.clone();
            Some(Halving { other, kept, given })
        };
        self.partners().scan(0..n, halve).collect()
    }

    fn swap_sums(&self, other: usize, sums: &[f64]) -> Result<Vec<f64>> {
        let waits = || self.ranks.swap_sums(other, sums);
        self.traffic.timed(Lane::Sums, 8 * sums.len(), waits)
    }

    fn swap(&self, other: usize, sent: &[f32], received: &mut [f32]) -> Result<()> {
        let waits = || self.ranks.swap_values(other, sent, received);
        self.traffic.timed(Lane::Values, 4 * sent.len(), waits)
    }

    /// The ranks that this one meets, from the leaves of the tree to its root.
    fn partners(&self) -> impl Iterator<Item = usize> + use<> {
        let (rank, n) = (self.ranks.rank(), self.ranks.n_ranks());
        std::iter::successors(Some(1), |gap| Some(2 * gap))
            .take_while(move |gap| *gap < n)
            .map(move |gap| rank ^ gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::on_ranks;
    use crate::{Stream, rng};

    const N: usize = 8;

    /// The values of a shard: some large, some small, so that each order of a sum has other bits.
    fn values(shard: usize) -> Vec<f32> {
        let blocks = (0..3).flat_map(|i| Stream::new(shard as u64).block(i));
        blocks.enumerate().map(|(i, word)| rng::unit_f32(word) * 10f32.powi(i as i32)).collect()
    }

    fn add(sum: &mut [f32], other: &[f32]) {
        sum.iter_mut().zip(other).for_each(|(a, b)| *a += b);
    }

    /// Of all shards in their tree, written out.
    fn tree() -> Vec<u32> {
        let pair = |i| {
            let mut sum = values(i);
            add(&mut sum, &values(i + 1));
            sum
        };
        let four = |i| {
            let mut sum = pair(i);
            add(&mut sum, &pair(i + 2));
            sum
        };
        let mut sum = four(0);
        add(&mut sum, &four(4));
        sum.iter().map(|v| v.to_bits()).collect()
    }

    #[test]
    fn sums_have_the_same_bits_for_any_number_of_ranks() {
        for n_ranks in [1, 2, 4, 8] {
            let sums = on_ranks(n_ranks, |ranks| {
                let shards = Shards::new(N, ranks).unwrap();
                let mut own: Vec<Vec<f32>> = shards.own().map(values).collect();
                for (first, next) in pairs(own.len()) {
                    let other = own[next].clone();
                    add(&mut own[first], &other);
                }
                shards.reduce(&mut own[0]).unwrap();
                // What is not of this rank may be anything.
                let part = shards.own_part(12);
                (0..12).filter(|i| !part.contains(i)).for_each(|i| own[0][i] = f32::NAN);
                shards.spread(&mut own[0]).unwrap();
                let bytes = shards.traffic().of(Lane::Values).bytes;
                // Twice the size, less what stays at home.
                assert_eq!(bytes as usize, 2 * 4 * 12 * (n_ranks - 1) / n_ranks, "{n_ranks}");
                own[0].iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            });
            assert!(sums.unwrap().iter().all(|sum| *sum == tree()), "{n_ranks} ranks");
        }
    }

    #[test]
    fn a_few_values_are_shared_by_many_ranks() {
        for n in [0, 1, 3, 7] {
            let shared = on_ranks(8, |ranks| {
                let shards = Shards::new(N, ranks).unwrap();
                let mut values = vec![1.0 + shards.own().start as f32; n];
                shards.reduce(&mut values).unwrap();
                shards.spread(&mut values).unwrap();
                (values, shards.own_part(n).len())
            });
            let shared = shared.unwrap();
            assert!(shared.iter().all(|(values, _)| *values == vec![36.0; n]));
            assert_eq!(shared.iter().map(|(_, n_own)| n_own).sum::<usize>(), n);
        }
    }

    #[test]
    fn what_is_gathered_is_in_order() {
        for n_ranks in [1, 2, 8] {
            let gathered = on_ranks(n_ranks, |ranks| {
                let shards = Shards::new(N, ranks).unwrap();
                assert!(shards.any(shards.own().contains(&5)).unwrap());
                assert!(!shards.any(false).unwrap());
                shards.gather(shards.own().map(|shard| shard as f64).collect()).unwrap()
            });
            for order in gathered.unwrap() {
                assert_eq!(order, [0., 1., 2., 3., 4., 5., 6., 7.]);
            }
        }
    }

    /// Joined as the digits of a number, in which each order shows.
    #[test]
    fn ranks_join_in_order() {
        let join = |number: &mut Vec<f64>, other: &[f64]| {
            *number = vec![number[0] * 10f64.powf(other[1]) + other[0], number[1] + other[1]];
        };
        for n_ranks in [1, 2, 4, 8] {
            let joined = on_ranks(n_ranks, |ranks| {
                let shards = Shards::new(N, ranks).unwrap();
                let parts = shards.own().map(|shard| vec![shard as f64 + 1.0, 1.0]).collect();
                shards.join(parts, &join).unwrap()
            });
            assert!(joined.unwrap().iter().all(|joined| *joined == [12_345_678.0, 8.0]));
        }
    }

    #[test]
    fn a_batch_is_cut_evenly() {
        let shards = Shards::new(4, Arc::new(Single)).unwrap();
        let rows = |n| (0..4).map(|shard| shards.rows(shard, n)).collect::<Vec<_>>();
        assert_eq!(rows(10), [0..2, 2..5, 5..7, 7..10]);
        assert_eq!(rows(2), [0..0, 0..1, 1..1, 1..2]);
    }

    #[test]
    fn shards_that_cannot_be_shared_are_refused() {
        let refused = |n_ranks: usize, n: usize, reason: &str| {
            let errors = on_ranks(n_ranks, |ranks| Shards::new(n, ranks).unwrap_err().to_string());
            assert!(errors.unwrap()[0].contains(reason));
        };
        refused(1, 6, "power of two");
        refused(1, 0, "power of two");
        refused(3, 8, "by 3 ranks");
        refused(4, 2, "by 4 ranks");
    }
}
