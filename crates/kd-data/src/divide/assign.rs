//! Which image goes to which side.

use std::collections::BTreeMap;

use kd_core::Stream;

use super::side::Side;
use crate::part::share;

/// The side of each image, by its class and the digest of its content: of each class such shares for
/// `[val, test]`, rounded, but at least one image each where there are enough, and one to learn from.
///
/// Images of one digest go together; they count where the first of them is. The order of the images
/// within a class, and other classes, do not change what becomes of it but by their names.
pub(super) fn assign(
    (classes, labels): (&[String], &[u32]),
    digests: &[String],
    [val, test]: [f64; 2],
    stream: Stream,
) -> Vec<Side> {
    let mut sides = vec![Side::Train; labels.len()];
    let groups = groups(digests);
    for (class, label) in classes.iter().zip(0..) {
        let own: Vec<&Vec<usize>> =
            groups.iter().filter(|group| labels[group[0]] == label).collect();
        let n: usize = own.iter().map(|group| group.len()).sum();
        let n_val = if val > 0.0 { share(n, val) } else { 0 };
        let n_test = if test > 0.0 { share(n, test) } else { 0 };
        let n_test = n_test.min(n.saturating_sub(n_val + 1));
        let mut room = [(Side::Test, n_test), (Side::Val, n_val)];
        for i in stream.at(class).permutation(own.len() as u32) {
            let group = own[i as usize];
            let Some((side, room)) = room.iter_mut().find(|(_, room)| *room >= group.len()) else {
                continue;
            };
            *room -= group.len();
            group.iter().for_each(|&i| sides[i] = *side);
        }
    }
    sides
}

/// Images of equal digests, in the order of the first ones.
fn groups(digests: &[String]) -> Vec<Vec<usize>> {
    let mut places = BTreeMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, digest) in digests.iter().enumerate() {
        let place = *places.entry(digest).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(n_of: &[usize], shares: [f64; 2], same: &[(usize, usize)], seed: u64) -> Vec<Side> {
        let classes: Vec<String> = (0..n_of.len()).map(|i| i.to_string()).collect();
        let labels: Vec<u32> =
            n_of.iter().zip(0..).flat_map(|(&n, label)| vec![label; n]).collect();
        let mut digests: Vec<String> = (0..labels.len()).map(|i| format!("{i:04}")).collect();
        same.iter().for_each(|&(a, b)| digests[b] = digests[a].clone());
        assign((&classes, &labels), &digests, shares, Stream::new(seed))
    }

    fn counts(sides: &[Side]) -> [usize; 3] {
        Side::ALL.map(|side| sides.iter().filter(|&&other| other == side).count())
    }

    #[test]
    fn each_class_gives_the_same_shares_and_keeps_one() {
        let sides_of = sides(&[10, 20, 1, 2, 3], [0.2, 0.1], &[], 0);
        let class = |first: usize, n: usize| counts(&sides_of[first..first + n]);
        assert_eq!([class(0, 10), class(10, 20)], [[7, 2, 1], [14, 4, 2]]);
        assert_eq!([class(30, 1), class(31, 2), class(33, 3)], [[1, 0, 0], [1, 1, 0], [1, 1, 1]]);
        assert_eq!(counts(&sides(&[10], [0.25, 0.0], &[], 0)), [7, 3, 0]);
    }

    #[test]
    fn equal_contents_stay_on_one_side_also_across_classes() {
        for seed in 0..50 {
            let sides = sides(&[6, 6], [0.4, 0.2], &[(0, 1), (0, 2), (3, 9)], seed);
            assert!(sides[0] == sides[1] && sides[1] == sides[2] && sides[3] == sides[9], "{seed}");
            assert!(counts(&sides)[0] >= 2, "{seed}");
        }
        // Nothing but one content: it is learnt from.
        assert_eq!(counts(&sides(&[3], [0.3, 0.0], &[(0, 1), (0, 2)], 1)), [3, 0, 0]);
    }

    #[test]
    fn a_seed_is_a_choice_of_its_own_and_another_class_changes_nothing() {
        let one = |seed| sides(&[30], [0.3, 0.0], &[], seed);
        assert_eq!(one(1), one(1));
        assert_ne!(one(1), one(2));
        assert_eq!(sides(&[30, 7], [0.3, 0.0], &[], 1)[..30], one(1));
    }
}
