//! The paper's orders of students beside ours.

use std::cmp::Ordering;

use kd_core::record::FinalRecord;

use crate::claims::{Claim, Claims, Measure};
use crate::document::{Cell, Column, Row, Section, Table};
use crate::format::thousands;
use crate::ordered::grouped;
use crate::run::{ModelRuns, Run};
use crate::share::Share;

use super::{CHARTS, Curves, OrderResult, OrderVerdict, Placed, summary};

/// Every order of the paper whose students were trained here, in one training.
pub(super) fn results(run: &Run, claims: &Claims) -> Vec<OrderResult> {
    let comparable = !run.provenance.synthetic && !run.provenance.reencoded;
    let trainings = grouped(&run.models, |model| model.id.training.clone());
    let claims = claims.orders(&run.provenance.suite);
    let of_training = |models: &Vec<&ModelRuns>| -> Vec<OrderResult> {
        claims.iter().filter_map(|claim| result(models, claim, comparable)).collect()
    };
    trainings.iter().flat_map(of_training).collect()
}

fn result(models: &[&ModelRuns], claim: &Claim, comparable: bool) -> Option<OrderResult> {
    let answer = |id: &String| models.iter().find(|model| model.claim() == Some(id)).copied();
    let students: Vec<&ModelRuns> = claim.order.iter().map(answer).collect::<Option<_>>()?;
    let placed = students.iter().map(|student| placed(student, claim.measure));
    let placed: Vec<Placed> = placed.collect::<Option<_>>()?;
    let mut finals = students.iter().flat_map(|student| student.finals.values());
    let same_images = finals.all(|last| claim.n_test == n_images(last, claim.measure));
    let verdict = if comparable && same_images { verdict(&placed) } else { OrderVerdict::None };
    Some(OrderResult {
        id: claim.id.clone(),
        source: claim.source.clone(),
        measure: claim.measure,
        training: students.first()?.id.training.clone(),
        students: placed,
        verdict,
    })
}

fn placed(model: &ModelRuns, measure: Measure) -> Option<Placed> {
    let counts = model.finals.values().map(|last| wrong(model, last, measure));
    let error = Share::of(counts.collect::<Option<Vec<_>>>()?)?;
    Some(Placed { model: model.id.model.clone(), error })
}

/// How many images the model got wrong at the end, of how many. On the training images that is its
/// last pass: what a single point is over is little.
fn wrong(model: &ModelRuns, last: &FinalRecord, measure: Measure) -> Option<(usize, usize)> {
    let of_last_pass = |chart: usize| {
        let line = summary::line(model, last.seed);
        let (error, n) = summary::last_pass(&line, CHARTS[chart])?;
        Some(((error * n).round() as usize, n as usize))
    };
    let last = &last.last;
    match measure {
        Measure::TrainTop1Order => of_last_pass(0),
        Measure::TrainTop5Order => of_last_pass(1),
        Measure::Top1Order => Some((last.errors(), last.total)),
        Measure::Top5Order => {
            Some(((super::error(last.top5) * last.total as f64).round() as usize, last.total))
        }
        _ => None,
    }
}

/// Number of images that the run has of the kind that `measure` looks at.
fn n_images(last: &FinalRecord, measure: Measure) -> Option<usize> {
    match measure {
        Measure::TrainTop1Order | Measure::TrainTop5Order => Some(last.how.n_train),
        Measure::Top1Order | Measure::Top5Order => Some(last.last.total),
        _ => None,
    }
}

/// `students` stand in the paper's order, the one with the fewest errors first.
fn verdict(students: &[Placed]) -> OrderVerdict {
    let mut pairs = students
        .iter()
        .enumerate()
        .flat_map(|(i, a)| students[i + 1..].iter().map(move |b| (a, b)));
    if pairs.any(|(a, b)| a.error.compare(&b.error) == Ordering::Greater) {
        return OrderVerdict::Contradicted;
    }
    match students.windows(2).all(|pair| pair[0].error.compare(&pair[1].error) == Ordering::Less) {
        true => OrderVerdict::Reproduced,
        false => OrderVerdict::Undecided,
    }
}

impl OrderVerdict {
    /// The verdict in words, with a sign that needs no color.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Reproduced => "= reproduced",
            Self::Contradicted => "\u{2260} another order",
            Self::Undecided => "\u{2248} not decided",
            Self::None => "none",
        }
    }
}

/// The orders side by side.
pub(super) fn section(curves: &Curves) -> Option<Section> {
    Section::of_table("The paper's order of the students", table(&curves.orders))
}

/// The orders, as the report and the README show them.
pub(crate) fn table(orders: &[OrderResult]) -> Table {
    let columns =
        Column::plain(&["claim", "where", "seeds", "the paper's order", "ours", "verdict"]);
    let n_judged = orders.iter().filter(|order| order.verdict != OrderVerdict::None).count();
    let none = match n_judged {
        0 if !orders.is_empty() => {
            " These are other images than the paper's, so that no order gets a verdict."
        }
        _ => "",
    };
    let caption = format!(
        "From the fewest errors to the most, percent with 95 % intervals, at the end of the \
         training: on the training set over the last pass, on the other over all images after \
         it. Two students are told apart (<, >) when their intervals do not touch, else not (≈). An \
         interval is Wilson's on the images of one seed, because all seeds see the same ones, or \
         two standard errors over seeds where that is wider. The order is reproduced when all \
         neighbors stand as in the paper, another one when any two stand the other way round, and \
         else not decided. The program has no digest of these images: an order is judged where \
         they were read as they are, and are as many as the paper's.{none}"
    );
    Table { caption, columns, rows: orders.iter().map(row).collect() }
}

fn row(order: &OrderResult) -> Row {
    let n_seeds = order.students.iter().map(|student| student.error.over_seeds.n).min();
    let names: Vec<&str> = order.students.iter().map(|student| student.model.as_str()).collect();
    Row::Cells(vec![
        Cell::Code(order.id.clone()),
        Cell::Text(order.source.clone()),
        Cell::Text(thousands(n_seeds.unwrap_or(0))),
        Cell::Text(names.join(" < ")),
        Cell::Words(ours(&order.students)),
        Cell::Order(order.verdict),
    ])
}

/// Our errors, in the paper's order, with what can be said of neighbors between them.
fn ours(students: &[Placed]) -> String {
    let mut words = String::new();
    let mut before: Option<&Placed> = None;
    for student in students {
        words += match before.map(|before| before.error.compare(&student.error)) {
            None => "",
            Some(Ordering::Less) => " < ",
            Some(Ordering::Greater) => " > ",
            Some(Ordering::Equal) => " \u{2248} ",
        };
        words += &format!("{} {}", student.model, student.error.words());
        before = Some(student);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(wrong: &[usize]) -> Vec<Placed> {
        let error = |count: &usize| Share::of([(*count, 50_000)]).unwrap();
        let student = |count| Placed { model: "m".into(), error: error(count) };
        wrong.iter().map(student).collect()
    }

    /// Wilson's intervals of 50,000 images are about 0.8 points wide at 30 %: 400 images.
    #[test]
    fn an_order_is_decided_by_intervals_that_do_not_touch() {
        assert_eq!(verdict(&placed(&[14_000, 15_000, 16_000])), OrderVerdict::Reproduced);
        assert_eq!(verdict(&placed(&[14_000, 14_200, 16_000])), OrderVerdict::Undecided);
        assert_eq!(verdict(&placed(&[14_000, 14_000, 14_000])), OrderVerdict::Undecided);
        assert_eq!(verdict(&placed(&[15_000, 14_000, 16_000])), OrderVerdict::Contradicted);
        assert_eq!(
            verdict(&placed(&[15_000, 14_700, 14_400])),
            OrderVerdict::Contradicted,
            "the ends differ though no neighbors do"
        );
    }

    #[test]
    fn neighbors_are_told_apart_in_words() {
        let words = ours(&placed(&[14_000, 14_100, 16_000, 15_000]));
        let signs: String = words.chars().filter(|c| "<>\u{2248}".contains(*c)).collect();
        assert_eq!(signs, "\u{2248}<>", "{words}");
        assert!(words.starts_with("m 28.0\u{a0}% (27.6\u{2013}28.4) \u{2248} m 28.2"), "{words}");
    }
}
