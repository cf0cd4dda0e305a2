//! The records of a cohort whose students were trained in several parts.

use kd_core::record::{ModelId, Record};

/// The records of all `parts` of a cohort in the order in which they would stand had all students been trained
/// together: epoch by epoch, and at the end what is said of each student, then of all.
pub(super) fn in_lockstep(parts: Vec<Vec<Record>>) -> Vec<Record> {
    if parts.len() < 2 {
        return parts.into_iter().flatten().collect();
    }
    let all = parts.into_iter().enumerate().flat_map(|(part, records)| {
        // What is said of the cohort as a whole, every part says.
        records.into_iter().filter(move |record| part == 0 || student(record).is_some())
    });
    let mut all: Vec<Record> = all.collect();
    all.sort_by(|one, other| {
        let ((one, first), (other, second)) = (place(one), place(other));
        one.total_cmp(&other).then(first.cmp(&second))
    });
    all
}

/// The student that `record` is of.
fn student(record: &Record) -> Option<&ModelId> {
    match record {
        Record::Curve(r) => Some(&r.id),
        Record::Epoch(r) => Some(&r.id),
        Record::Final(r) => Some(&r.id),
        Record::Correction(r) => Some(&r.id),
        _ => None,
    }
}

/// When in a training something is recorded: the epoch, and what comes after what at its end.
fn place(record: &Record) -> (f64, u8) {
    let end = f64::INFINITY;
    match record {
        Record::Curve(r) => (r.epoch, 0),
        Record::Epoch(r) => (r.epoch as f64, 1),
        Record::Teacher(_) => (end, 0),
        Record::Final(_) => (end, 1),
        Record::Correction(_) => (end, 2),
        Record::SoftTargets(_) => (end, 3),
        _ => (end, 4),
    }
}

#[cfg(test)]
mod tests {
    use kd_core::record::{
        CorrectionMethod, CorrectionRecord, CurveRecord, EpochRecord, FinalRecord,
    };
    use kd_core::record::{Evaluation, TeacherRecord};

    use super::*;

    fn ids<'s>(students: &'s [&str]) -> impl Iterator<Item = ModelId> + use<'s> {
        students.iter().map(|name| ModelId::new("cohort", *name))
    }

    fn correction(id: &ModelId, method: CorrectionMethod) -> Record {
        let (seed, id, class, bias, evaluation) = (0, id.clone(), 3, 0.5, Evaluation::default());
        Record::Correction(CorrectionRecord { seed, id, method, class, bias, evaluation })
    }

    /// All that is said of these students in two epochs, in lockstep.
    fn together(students: &[&str]) -> Vec<Record> {
        let mut all = Vec::new();
        for epoch in [1, 2] {
            for half in [0.5, 0.0] {
                let epoch = epoch as f64 - half;
                let curve = |id| Record::Curve(CurveRecord { id, epoch, ..CurveRecord::default() });
                all.extend(ids(students).map(curve));
            }
            let ended = |id| Record::Epoch(EpochRecord { id, epoch, ..EpochRecord::default() });
            all.extend(ids(students).map(ended));
        }
        all.push(Record::Teacher(TeacherRecord::default()));
        let last = |id| Record::Final(Box::new(FinalRecord { id, ..FinalRecord::default() }));
        all.extend(ids(students).map(last));
        let methods = [CorrectionMethod::TestTuned, CorrectionMethod::LabelFree];
        all.extend(ids(students).flat_map(|id| methods.map(|method| correction(&id, method))));
        all
    }

    #[test]
    fn parts_are_woven_together() {
        let parts = vec![together(&["a", "b"]), together(&["c"])];
        assert_eq!(in_lockstep(parts), together(&["a", "b", "c"]));
        assert_eq!(in_lockstep(vec![together(&["a"])]), together(&["a"]));
        assert!(in_lockstep(vec![]).is_empty());
    }
}
