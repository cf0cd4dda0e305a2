//! Ways to read a share of "defended" images: who made them, who looks at them, and which of them count.

use kd_core::record::ModelId;
use serde::Serialize;

use super::transfer::answer;
use super::{Adversarial, AttackedModel, Share};
use crate::claims::Measure;
use crate::comparison::{ClaimResult, Paper, paper};
use crate::document::{Cell, Column, Row, Section, Table};
use crate::format::percent_cell;

/// One share that the paper's words may mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DefendedReading {
    /// Id of the paper's number.
    pub id: String,
    /// The distilled model.
    pub model: String,
    /// Its temperature.
    pub temperature: f64,
    /// What is counted.
    pub how: How,
    /// The share of images that are still classified correctly.
    pub share: Share,
    /// Whether its 95 % interval touches the paper's.
    pub fits: bool,
}

/// What is counted of adversarial images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Made on the student, shown to the teacher, of all that it had right.
    StudentToTeacher,
    /// The same, of those that fool the student.
    StudentToTeacherFooled,
    /// Made on the teacher, shown to the student, of all that it had right.
    TeacherToStudent,
    /// The same, of those that fool the teacher.
    TeacherToStudentFooled,
    /// Made on the student and shown to it, of all that it had right.
    Student,
    /// Made on the teacher and shown to it, of all that it had right.
    Teacher,
}

impl How {
    fn words(self) -> &'static str {
        match self {
            Self::StudentToTeacher => "made on the student, right on the teacher",
            Self::StudentToTeacherFooled => "the same, of those that fool the student",
            Self::TeacherToStudent => "made on the teacher, right on the student",
            Self::TeacherToStudentFooled => "the same, of those that fool the teacher",
            Self::Student => "made on the student, right on it",
            Self::Teacher => "made on the teacher, right on it",
        }
    }
}

/// Every reading of the shares in `claims`.
pub(super) fn of(all: &Adversarial, claims: &[ClaimResult]) -> Vec<DefendedReading> {
    let defended = claims.iter().filter(|claim| claim.measure == Measure::Defended);
    defended.filter_map(|claim| of_claim(all, claim)).flatten().collect()
}

fn of_claim(all: &Adversarial, claim: &ClaimResult) -> Option<Vec<DefendedReading>> {
    let find = |id: &ModelId| all.models.iter().find(|model| model.id == *id);
    let student = find(&claim.model)?;
    let (made_on_student, on_teacher) = answer(student, &claim.id)?;
    let mut shares = vec![
        (How::StudentToTeacher, on_teacher.defended.clone()),
        (How::StudentToTeacherFooled, rest(on_teacher.transfer_rate.as_ref())),
        (How::Student, rest(made_on_student.success.as_ref())),
    ];
    if let Some(teacher) = find(&on_teacher.id) {
        shares.extend(made_on(teacher, student, &made_on_student.attack));
    }
    let (low, high) = match claim.paper {
        Paper::Value(value) => (value, value),
        Paper::Interval([low, high]) => (low, high),
    };
    let reading = |(how, share): (How, Option<Share>)| {
        let share = share?;
        let fits = share.interval[0] <= high && share.interval[1] >= low;
        let (id, model, temperature) =
            (claim.id.clone(), student.name.clone(), student.temperature);
        Some(DefendedReading { id, model, temperature, how, share, fits })
    };
    Some(shares.into_iter().filter_map(reading).collect())
}

/// With the roles exchanged.
fn made_on(
    teacher: &AttackedModel,
    student: &AttackedModel,
    name: &str,
) -> Vec<(How, Option<Share>)> {
    let attack = teacher.attacks.iter().find(|attack| attack.main && attack.attack == name);
    let Some(attack) = attack else { return Vec::new() };
    let on_student = attack.transfer.iter().find(|target| target.id == student.id);
    let defended = on_student.and_then(|target| target.defended.clone());
    let fooled = on_student.and_then(|target| target.transfer_rate.as_ref());
    vec![
        (How::TeacherToStudent, defended),
        (How::TeacherToStudentFooled, rest(fooled)),
        (How::Teacher, rest(attack.success.as_ref())),
    ]
}

/// The share of the others.
fn rest(share: Option<&Share>) -> Option<Share> {
    share.map(Share::rest)
}

/// All readings beside the paper's words.
pub(super) fn section(readings: &[DefendedReading], claims: &[ClaimResult]) -> Option<Section> {
    let mut rows = Vec::new();
    for claim in claims.iter().filter(|claim| claim.measure == Measure::Defended) {
        let of_claim = |r: &&DefendedReading| r.id == claim.id && r.model == claim.model.model;
        let mut own = readings.iter().filter(of_claim).peekable();
        if let Some(first) = own.peek() {
            let (model, t) = (&claim.model.model, first.temperature);
            rows.push(Row::Heading(format!(
                "{}, {model}, T {t}: paper {}",
                claim.id,
                paper(claim)
            )));
        }
        rows.extend(own.map(row));
    }
    let caption = "Readings of the paper's number, which says neither of whom the images had to fool nor of which the \
        share is: images still classified correctly, percent, with 95 percent intervals. A reading fits where its \
        interval touches the paper's."
        .into();
    let columns = Column::plain(&["reading", "ours", "95 % interval", "fits"]);
    Section::of_table("Readings of the share that is defended", Table { caption, columns, rows })
}

fn row(reading: &DefendedReading) -> Row {
    Row::Cells(vec![
        Cell::Text(reading.how.words().into()),
        percent_cell(&reading.share.over_seeds),
        reading.share.interval_cell(),
        Cell::Text(if reading.fits { "yes" } else { "no" }.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::claims::Claims;

    /// Of 990 images that the student had right 97 fool it under PGD; 48 of these fool the teacher, too.
    #[test]
    fn shares_are_of_all_images_or_of_those_that_fool() {
        let all = fixture::summary();
        let claims = all.claims(&Claims::load().unwrap(), true);
        let readings = of(&all, &claims);
        let mean = |how| {
            let is = |r: &&DefendedReading| {
                r.id.contains("pgd") && r.model == "student-t100" && r.how == how
            };
            readings.iter().find(is).unwrap().share.mean()
        };
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got}, {want}");
        close(mean(How::StudentToTeacher), (993.0 - 48.0 - 260.0) / 993.0);
        close(mean(How::StudentToTeacherFooled), 1.0 - 48.0 / 97.0);
        close(mean(How::Student), 893.0 / 990.0);
        assert!(readings.iter().all(|r| r.share.interval[0] <= r.share.mean()));
        let fits = |how| readings.iter().filter(|r| r.how == how).any(|r| r.fits);
        assert!(fits(How::StudentToTeacher), "69 of 100 are within 65 to 70");
        assert!(section(&readings, &claims).is_some() && section(&[], &claims).is_none());
    }
}
