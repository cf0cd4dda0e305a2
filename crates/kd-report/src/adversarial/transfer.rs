//! Images that were made against one model, tested on another.

use kd_core::record::ModelId;

use crate::claims::{Claim, Claims, Measure};
use crate::comparison::{ClaimResult, Selection, paper, three};
use crate::document::{Block, Cell, Column, Grid, Row, Section, Shaded, Table};
use crate::format::{percent, percent_cell};
use crate::ordered::grouped;

use super::{Adversarial, AttackSummary, AttackedModel, Share, TransferSummary};

/// The paper's numbers: `MARK/ATTACK/defended` is answered by every distilled model that is
/// marked `MARK` in the suite, under the attack of that name, tested on the teacher that has the same
/// mark.
pub(super) fn claims(all: &Adversarial, claims: &Claims, official: bool) -> Vec<ClaimResult> {
    let defended = claims.all().iter().filter(|claim| claim.measure == Measure::Defended);
    defended
        .flat_map(|claim| all.models.iter().filter_map(|m| result(m, claim, official)))
        .collect()
}

fn result(model: &AttackedModel, claim: &Claim, official: bool) -> Option<ClaimResult> {
    let (attack, target) = answer(model, &claim.id)?;
    let ours = target.defended.as_ref()?.over_seeds.clone();
    let n_test = claim.n_test.filter(|n| official && *n == attack.n_images);
    ClaimResult::new(claim, &model.id, ours, Selection::Last, n_test)
}

/// The attack on `model`, and the teacher under it, that answer the claim `id`.
pub(super) fn answer<'a>(
    model: &'a AttackedModel,
    id: &str,
) -> Option<(&'a AttackSummary, &'a TransferSummary)> {
    let mut parts = id.rsplitn(3, '/').skip(1);
    let (name, mark) = (parts.next()?, parts.next());
    let is_student = model.distilled && model.claim.as_deref() == mark;
    let attack = model.attacks.iter().find(|a| is_student && a.main && a.attack == name)?;
    let is_teacher = |t: &&TransferSummary| t.plain && t.claim.as_deref() == mark;
    Some((attack, attack.transfer.iter().find(is_teacher)?))
}

const DEFINITIONS: &str = "Rows: the model that the images were made against; columns: the model \
    that is tested on them. \u{201c}Right before and after\u{201d}: of the images that the \
    tested model classifies correctly before the attack, the fraction that it classifies correctly after it, in percent, whether or not they fool the model \
    they were made against. \u{201c}Fooled too\u{201d} is the transfer rate: of the images that \
    both classify correctly before and that fool the model they were made against, the fraction \
    that fools the tested one as well. On the diagonal stands the attacked model itself.";

/// Heat maps of every attack, and the paper's number beside ours.
pub(super) fn section(all: &Adversarial, claims: &[ClaimResult]) -> Option<Section> {
    let attacks = all.attacks().filter(|(_, attack)| !attack.transfer.is_empty());
    let groups = grouped(attacks, |(_, attack)| attack.title());
    if groups.is_empty() {
        return None;
    }
    let mut blocks = vec![Block::Text(DEFINITIONS.into())];
    blocks.extend(beside_the_paper(all, claims));
    for group in &groups {
        blocks.push(Block::Text(format!("`{}`:", group[0].1.title())));
        blocks.push(Block::Grids(grids(group)));
    }
    Section::of("Transfer: made against one model, tested on another", blocks)
}

type Source<'a> = (&'a AttackedModel, &'a AttackSummary);

fn grids(sources: &[Source<'_>]) -> Vec<Grid> {
    let targets = targets(sources);
    let grid = |title: &str, value: &dyn Fn(&Source<'_>, &Target) -> Option<f64>| Grid {
        title: title.into(),
        rows: sources.iter().map(|(model, _)| model.name.clone()).collect(),
        columns: targets.iter().map(|target| target.name.clone()).collect(),
        cells: sources
            .iter()
            .map(|s| targets.iter().map(|t| shade(value(s, t))).collect())
            .collect(),
    };
    let both = [
        grid("right before and after, percent", &defended),
        grid("fooled too, percent", &fooled_too),
    ];
    let has_cells = |grid: &Grid| grid.cells.iter().flatten().any(Option::is_some);
    both.into_iter().filter(has_cells).collect()
}

fn shade(value: Option<f64>) -> Option<Shaded> {
    value.map(|value| Shaded::plain(percent(value), value))
}

/// A model that is tested: a column.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    id: ModelId,
    name: String,
}

/// The models that are tested; those that were attacked first, in the order of the rows.
fn targets(sources: &[Source<'_>]) -> Vec<Target> {
    let target = |id: &ModelId, name: &str| Target { id: id.clone(), name: name.into() };
    let tested = || {
        let all = sources.iter().flat_map(|(_, attack)| &attack.transfer);
        all.map(|t| target(&t.id, &t.name))
    };
    let own = sources.iter().map(|(m, _)| target(&m.id, &m.name));
    let own = own.filter(|own| tested().any(|tested| tested == *own));
    let groups = grouped(own.chain(tested()), Target::clone);
    groups.into_iter().filter_map(|mut group| group.pop()).collect()
}

impl Target {
    fn of<'a>(&self, attack: &'a AttackSummary) -> Option<&'a TransferSummary> {
        attack.transfer.iter().find(|t| t.id == self.id)
    }
}

fn defended((source, attack): &Source<'_>, target: &Target) -> Option<f64> {
    match target.id == source.id {
        true => attack.success.as_ref().map(|success| 1.0 - success.mean()),
        false => target.of(attack)?.defended.as_ref().map(Share::mean),
    }
}

fn fooled_too((_, attack): &Source<'_>, target: &Target) -> Option<f64> {
    target.of(attack)?.transfer_rate.as_ref().map(Share::mean)
}

fn beside_the_paper(all: &Adversarial, claims: &[ClaimResult]) -> Option<Block> {
    let rows: Vec<_> = claims.iter().filter_map(|claim| claim_row(all, claim)).collect();
    let names = ["claim", "made against", "T", "paper", "ours", "95 % interval", "fools it itself"];
    let mut columns = Column::plain(&names);
    columns.extend(Column::plain(&["difference", "verdict"]));
    let caption = "The paper's number: the share of images made on a distilled model that the \
                   teacher still classifies correctly, percent; it says neither which data set nor \
                   which temperature. Beside it, how many of the images fool the model that they \
                   were made against, of those that it had right: an image that fools nobody was \
                   not withstood by anyone.";
    (!rows.is_empty()).then(|| Block::Table(Table { caption: caption.into(), columns, rows }))
}

fn claim_row(all: &Adversarial, claim: &ClaimResult) -> Option<Row> {
    let model = all.models.iter().find(|model| model.id == claim.model)?;
    let (attack, target) = answer(model, &claim.id)?;
    let share = |share: &Option<Share>| {
        share.as_ref().map_or(Cell::Empty, |share| percent_cell(&share.over_seeds))
    };
    let [_, difference, verdict] = three(claim);
    Some(Row::Cells(vec![
        Cell::Code(claim.id.clone()),
        Cell::Code(model.name.clone()),
        Cell::number(model.temperature.to_string()),
        Cell::number(paper(claim)),
        share(&target.defended),
        target.defended.as_ref().map_or(Cell::Empty, Share::interval_cell),
        share(&attack.success),
        difference,
        verdict,
    ]))
}

impl Adversarial {
    /// Every model with each of its attacks at the attack's own radius.
    pub(super) fn attacks(&self) -> impl Iterator<Item = (&AttackedModel, &AttackSummary)> {
        self.models.iter().flat_map(|model| {
            model.attacks.iter().filter(|attack| attack.main).map(move |attack| (model, attack))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_matrix_has_the_tested_models_as_columns_and_the_attacked_one_on_the_diagonal() {
        let mut all = fixture::summary();
        let grids_of = |all: &Adversarial, name: &str| {
            let sources: Vec<_> = all.attacks().filter(|(_, a)| a.attack == name).collect();
            grids(&sources)
        };
        let [defended, fooled] = &grids_of(&all, "pgd")[..] else { panic!("two heat maps") };
        assert_eq!(defended.rows, ["teacher", "student-t1", "student-t100", "pgd7"]);
        assert_eq!(defended.columns, defended.rows);
        let text = |grid: &Grid, row: usize, column: usize| {
            grid.cells[row][column].as_ref().map(|cell| cell.text.clone())
        };
        assert_eq!(text(defended, 2, 2).unwrap(), "90.20", "893 of the 990 that it had right");
        // 97 fool the student; 48 of these fool the teacher, too, and 260 others.
        assert_eq!(text(defended, 2, 0).unwrap(), percent((993.0 - 48.0 - 260.0) / 993.0));
        assert_eq!(text(fooled, 2, 0).unwrap(), percent(48.0 / 97.0));
        assert_eq!(text(fooled, 2, 2), None);
        for attack in all.models.iter_mut().flat_map(|model| &mut model.attacks) {
            attack.transfer.retain(|target| target.id.model == "teacher");
            attack.transfer.iter_mut().for_each(|target| target.transfer_rate = None);
        }
        let [defended] = &grids_of(&all, "pgd")[..] else { panic!("no image fooled its model") };
        assert_eq!(defended.columns, ["teacher"]);
    }

    #[test]
    fn only_marked_students_and_teachers_answer_the_paper() {
        let all = fixture::summary();
        let [teacher, _, student, control] = &all.models[..] else { panic!("four models") };
        let id = "defensive/mnist/pgd/defended";
        assert_eq!(
            answer(student, id).map(|(a, t)| (&*a.attack, &*t.name)),
            Some(("pgd", "teacher"))
        );
        assert!(answer(student, "defensive/cifar10/pgd/defended").is_none(), "another mark");
        assert!(answer(student, "defensive/mnist/bim/defended").is_none(), "no such attack");
        assert!(answer(teacher, id).is_none() && answer(control, id).is_none(), "not distilled");
    }
}
