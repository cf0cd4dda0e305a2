//! The objectives that students could have had, and which of them held-out images chose.

use kd_core::record::CandidateRecord;

use crate::document::{Block, Cell, Column, Row, Section, Table};
use crate::format::{counted, percent, thousands};
use crate::ordered::grouped;
use crate::report::{Report, objective};

const CAPTION: &str = "Every candidate after the short training, on training images set aside, percent and nats \
    (at the temperature that suits these images best); no test image was asked. The most accurate one is \
    chosen, of equals the one of least NLL.";

/// The candidates of all students; nothing in a run without a choice.
pub(crate) fn section(report: &Report) -> Option<Section> {
    let trainings = grouped(&report.candidates, |candidate| candidate.id.training.clone());
    let mut blocks = Vec::new();
    for candidates in &trainings {
        blocks.push(Block::Text(budget(candidates)));
        let rows = candidates.iter().map(|candidate| Row::Cells(cells(candidate))).collect();
        let columns = Column::plain(&["student", "settings", "held out", "NLL", ""]);
        let table = Table { caption: CAPTION.into(), columns, rows };
        blocks.push(Block::Folded { title: "All candidates", blocks: vec![Block::Table(table)] });
    }
    Section::of("Objectives chosen by held-out images", blocks)
}

/// What was spent on the choice, and how evenly.
fn budget(candidates: &[&CandidateRecord]) -> String {
    let students = grouped(candidates.iter().copied(), |candidate| candidate.id.model.clone());
    let Some(first) = candidates.first() else { return String::new() };
    let numbers = students.iter().map(Vec::len);
    let (least, most) = (numbers.clone().min().unwrap_or(0), numbers.max().unwrap_or(0));
    let each = match least == most {
        true => format!("{most} each"),
        false => format!("{least} to {most} each"),
    };
    format!(
        "`{}`: {} had several objectives to choose from, {each} of the {} that were allowed. All {} were \
         trained for {} in one cohort with the seed {}, which is none of those below, and judged by {} held-out \
         images; {} images went forward and backward for each. Students with one objective had nothing to \
         choose.",
        first.id.training,
        counted(students.len(), "student"),
        first.most,
        candidates.len(),
        counted(first.n_epochs as usize, "epoch"),
        first.seed,
        thousands(first.n_holdout),
        thousands(first.compute.student_passes as usize),
    )
}

fn cells(candidate: &CandidateRecord) -> Vec<Cell> {
    vec![
        Cell::Code(candidate.id.model.clone()),
        Cell::Words(objective(&candidate.loss).join(", ")),
        candidate.holdout_top1.map_or(Cell::Empty, |top1| Cell::number(percent(top1))),
        candidate.holdout_nll.map_or(Cell::Empty, |nll| Cell::number(format!("{nll:.4}"))),
        match candidate.holdout_top1 {
            None => Cell::Text("not finite".into()),
            Some(_) if candidate.chosen => Cell::Text("\u{2713} chosen".into()),
            Some(_) => Cell::Empty,
        },
    ]
}
