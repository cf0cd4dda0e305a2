//! Whether images made against one network fool another.

use kd_core::record::TransferRecord;

use super::Outcome;

/// Counts of one pair: `source` and `target` are what the attacked network and another one make of
/// the same adversarial images, in the same order. Names are left for the caller.
///
/// Two figures are in use, and both follow from the counts. What the paper calls "defends" is
/// `robust / correct`: of the images that the target classifies correctly, how many it still does
/// when the attack was made against the source; where the source was not fooled, the target
/// usually is not either, so that a weak attack makes this figure look good. The transfer rate,
/// `fooled_both / fooled_source`, leaves those out.
pub fn transfer(source: &[Outcome], target: &[Outcome]) -> TransferRecord {
    let mut record = TransferRecord::default();
    for (source, target) in source.iter().zip(target) {
        record.correct += usize::from(target.is_correct());
        record.robust += usize::from(target.is_robust());
        if source.succeeded && target.is_correct() {
            record.fooled_source += 1;
            record.fooled_both += usize::from(!target.is_robust());
        }
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(predictions: &[[u32; 2]]) -> Vec<Outcome> {
        let outcome = |&[clean, after]: &[u32; 2]| Outcome {
            index: 0,
            label: 0,
            clean,
            after,
            rounded: after,
            distance: 0.0,
            succeeded: clean == 0 && after != 0,
        };
        predictions.iter().map(outcome).collect()
    }

    #[test]
    fn counts_by_hand() {
        //           both fooled, only the source, only the target, neither, source wrong, target wrong
        let source = [[0, 1], [0, 1], [0, 0], [0, 0], [2, 2], [0, 1]];
        let target = [[0, 1], [0, 0], [0, 3], [0, 0], [0, 3], [2, 0]];
        let record = transfer(&outcomes(&source), &outcomes(&target));
        assert_eq!((record.correct, record.robust), (5, 2));
        assert_eq!((record.fooled_source, record.fooled_both), (2, 1));
    }

    #[test]
    fn to_itself_every_success_transfers() {
        let same = outcomes(&[[0, 1], [0, 0], [1, 1], [0, 2]]);
        let record = transfer(&same, &same);
        assert_eq!((record.correct, record.robust), (3, 1));
        assert_eq!((record.fooled_source, record.fooled_both), (2, 2));
    }
}
