//! What others published, beside ours: for orientation, without a verdict.

use crate::claims::{Claims, Reference};
use crate::document::{Cell, Column, Row, Section, Table};
use crate::format::{percent, percent_cell};
use crate::run::{ModelRuns, Run};

use super::{Beside, Curves, ReferenceResult, error, summary};

/// Every published number about the suite, with our models that carry its id and were tested on as
/// many images; none for synthetic data, which nobody else has.
pub(super) fn results(run: &Run, claims: &Claims) -> Vec<ReferenceResult> {
    if run.provenance.synthetic {
        return Vec::new();
    }
    let result = |reference: &Reference| ReferenceResult {
        reference: reference.clone(),
        ours: run.models.iter().filter_map(|model| beside(model, reference)).collect(),
    };
    claims.references(&run.provenance.suite).into_iter().map(result).collect()
}

fn beside(model: &ModelRuns, reference: &Reference) -> Option<Beside> {
    let same = model.claim() == Some(&reference.id)
        && model.finals.values().all(|last| last.last.total == reference.n_test);
    let errors =
        same.then(|| summary::evaluated(model.finals.values().map(|last| &last.last)))??;
    Some(Beside { id: model.id.clone(), errors })
}

pub(super) fn section(curves: &Curves) -> Option<Section> {
    let mut columns = Column::plain(&["network and training", "source"]);
    columns.extend(Column::grouped("published", &["top-1", "top-5"]));
    columns.extend(Column::grouped("ours, last epoch", &["model", "top-1", "top-5"]));
    let rows = curves.references.iter().flat_map(rows).collect();
    let caption = "Errors on the test images, percent. None of these numbers is the paper's, and \
                   they get no verdict: other programs, other decoders, often another schedule."
        .into();
    Section::of_table("Published for the same networks", Table { caption, columns, rows })
}

fn rows(result: &ReferenceResult) -> Vec<Row> {
    let published = |accuracy: f64| Cell::number(percent(error(accuracy)));
    let row = |ours: [Cell; 3]| {
        let reference = &result.reference;
        let mut cells = vec![
            Cell::Words(reference.what.clone()),
            Cell::Words(reference.source.clone()),
            published(reference.top1),
            reference.top5.map_or(Cell::Empty, published),
        ];
        cells.extend(ours);
        Row::Cells(cells)
    };
    if result.ours.is_empty() {
        return vec![row([Cell::Empty, Cell::Empty, Cell::Empty])];
    }
    let ours = result.ours.iter().map(|beside| {
        let name = Cell::Code(beside.id.to_string());
        [name, percent_cell(&beside.errors.top1), percent_cell(&beside.errors.top5)]
    });
    ours.map(row).collect()
}
