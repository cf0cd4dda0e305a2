//! The readings in words and tables.

use super::pattern::{Grid, Pattern};
use super::{Axis, MadeUp, Number, Reading, Readings};
use crate::document::{Block, Cell, Column, Row, Section, Table};
use crate::format::{counted, percent, signed};
use crate::stats::Stat;

/// Readings that are listed.
const N_LISTED: usize = 10;

/// The whole section.
pub(crate) fn section(all: &Readings) -> Section {
    let mut blocks = vec![Block::Text(lead(all)), Block::Text(HOW.into())];
    blocks.extend((all.n_seeds == 1).then(|| Block::Text(ONE_SEED.into())));
    if all.p.is_some() {
        blocks.extend([Block::Table(likeliest(all)), Block::Table(axes(&all.axes))]);
    }
    blocks.push(Block::Table(tables(all)));
    blocks.extend(all.grid.as_ref().map(|grid| Block::Table(patterns(all, grid))));
    blocks.extend(all.made_up.as_ref().map(|found| Block::Text(made_up(found))));
    Section { title: "Readings of the paper".into(), blocks }
}

const HOW: &str = "A reading is one combination of the choices that the paper leaves open. Its table is a mean over \
    seeds; the paper's is one of a single training each, so that the two differ by the noise of both even where \
    the reading is true: of each number the larger of the binomial error of its test images and the spread over \
    seeds. The numbers of one training share batches, first weights and teacher; their correlation is that of \
    our seeds. The distance is the sum of squared differences in units of that noise (Mahalanobis), and a \
    reading's probability falls as exp(\u{2212} distance / 2), all of them being as likely before. Where the paper says which network \
    needs fewer epochs, it is weighed with the share of seeds in which that is so. Accuracies of \
    the best epoch are set beside those of the best epoch.";

const ONE_SEED: &str = "One seed does not tell how far seeds spread, nor what they have in common: here the noise is the \
    binomial error alone and the correlation 0, so that the probabilities are too sure.";

fn lead(all: &Readings) -> String {
    let n = counted(all.readings.len(), "reading");
    let seeds = counted(all.n_seeds, "seed");
    let (Some(p), Some(best)) = (all.p, all.readings.first()) else {
        return format!(
            "{n} with {seeds}. Images or networks are not the paper's, so that its table is not explained: what can be \
             compared is the pattern below."
        );
    };
    let explained = match p < 0.05 {
        true => "no reading explains the paper's table",
        false => "this reading explains the paper's table",
    };
    let p = if p < 0.001 { "less than 0.1".into() } else { format!("{:.1}", 100.0 * p) };
    format!(
        "Of {n} with {seeds}, the likeliest has {} of the probability: {}. Of tables that it makes, {p} percent \
         are as far from all readings as the paper's is: {explained}.",
        share(best.posterior),
        named(all, best)
    )
}

/// `crop_padding 2, reduction li2018`.
fn named(all: &Readings, reading: &Reading) -> String {
    let pairs = all.axes.iter().zip(&reading.values);
    pairs.map(|(axis, value)| format!("`{}` {value}", axis.name)).collect::<Vec<_>>().join(", ")
}

fn share(p: f64) -> String {
    if p < 0.001 { "less than 0.1 percent".into() } else { format!("{:.1} percent", 100.0 * p) }
}

/// The likeliest readings with their settings.
fn likeliest(all: &Readings) -> Table {
    let mut columns = Column::plain(&["", "probability, %", "distance", "mean difference"]);
    let names: Vec<&str> = all.axes.iter().map(|axis| &*axis.name).collect();
    columns.extend(Column::grouped("reading", &names));
    let row = |(i, reading): (usize, &Reading)| {
        let mut cells = vec![
            Cell::number(format!("#{}", i + 1)),
            Cell::number(format!("{:.1}", 100.0 * reading.posterior)),
            Cell::number(format!("{:.1}", reading.distance)),
            Cell::number(signed(100.0 * level(all, reading), 2)),
        ];
        cells.extend(reading.values.iter().map(|value| Cell::Text(value.clone())));
        Row::Cells(cells)
    };
    let rows = all.readings.iter().take(N_LISTED).enumerate().map(row).collect();
    let n = all.numbers.len();
    let caption = format!(
        "The likeliest readings. Of a true one the distance is about {n}, the number of the paper's numbers. The mean \
         difference is that of accuracies, ours minus the paper's, in points."
    );
    Table { caption, columns, rows }
}

/// Mean difference of the accuracies, ours minus the paper's.
fn level(all: &Readings, reading: &Reading) -> f64 {
    let accuracies = all.numbers.iter().zip(&reading.ours).filter(|(number, _)| !number.is_count);
    let differences: Vec<f64> = accuracies.map(|(number, ours)| ours.mean - number.paper).collect();
    differences.iter().sum::<f64>() / differences.len().max(1) as f64
}

/// What the table says of each choice.
fn axes(axes: &[Axis]) -> Table {
    let mut rows = Vec::new();
    for axis in axes {
        rows.push(Row::Heading(format!("{}: {:.2} bits", axis.name, axis.bits)));
        rows.extend(axis.choices.iter().map(|choice| {
            Row::Cells(vec![
                Cell::Text(choice.value.clone()),
                Cell::number(format!("{:.1}", 100.0 * choice.posterior)),
                Cell::number(format!("{:.1}", choice.behind)),
            ])
        }));
    }
    let columns = Column::plain(&["choice", "probability, %", "distance behind the best"]);
    let caption = "Which choice matters: the probability of all readings that make it, and how much farther the \
        nearest of them is than the nearest of all. Bits are what the paper's table tells of the choice; 0 says that \
        it tells nothing."
        .into();
    Table { caption, columns, rows }
}

/// The paper's table beside those of the likeliest readings.
fn tables(all: &Readings) -> Table {
    let shown: Vec<&Reading> = all.readings.iter().take(N_LISTED).collect();
    let mut columns = Column::plain(&["number", "paper", "noise"]);
    let names: Vec<String> = (1..=shown.len()).map(|i| format!("#{i}")).collect();
    columns.extend(Column::grouped("ours", &names.iter().map(|name| &**name).collect::<Vec<_>>()));
    let row = |(i, number): (usize, &Number)| {
        let mut cells = vec![Cell::Code(number.id.clone())];
        cells.push(Cell::number(printed(number, number.paper)));
        cells.push(Cell::number(printed(number, number.noise)));
        let ours = |reading: &&Reading| mean(number, &reading.ours[i]);
        cells.extend(shown.iter().map(ours));
        Row::Cells(cells)
    };
    let rows = all.numbers.iter().enumerate().map(row).collect();
    let caption = "The paper's table and ours, means over seeds; accuracies in percent, errors counted. The noise is \
        that of one training."
        .into();
    Table { caption, columns, rows }
}

fn mean(number: &Number, ours: &Stat) -> Cell {
    Cell::number(printed(number, ours.mean))
}

/// Percent, or a count of errors.
fn printed(number: &Number, fraction: f64) -> String {
    match number.is_count {
        true => format!("{:.0}", fraction * number.n_test as f64),
        false => percent(fraction),
    }
}

/// The paper's pattern and those of the readings that are most like it.
fn patterns(all: &Readings, grid: &Grid) -> Table {
    let mut columns = Column::plain(&["reading", "correlation", "signs", "gain"]);
    let names = |letter: &str, values: &[f64]| -> Vec<String> {
        values.iter().map(|value| format!("{letter} {value}")).collect()
    };
    let alphas = names("\u{3b1}", &grid.alphas);
    let temperatures = names("T", &grid.temperatures);
    let plain = |names: &[String]| Column::plain(&names.iter().map(|n| &**n).collect::<Vec<_>>());
    columns.extend(plain(&alphas));
    columns.extend(plain(&temperatures));
    let mut order: Vec<usize> = (0..grid.readings.len()).collect();
    order.sort_by(|&a, &b| grid.readings[b].correlation.total_cmp(&grid.readings[a].correlation));
    let mut rows = vec![pattern("paper".into(), &grid.paper, grid.n_cells())];
    let shown = order.iter().take(N_LISTED);
    rows.extend(
        shown.map(|&i| {
            pattern(all.readings[i].values.join(", "), &grid.readings[i], grid.n_cells())
        }),
    );
    let caption = "Patterns, whatever the level: gains over labels alone, points, as their mean and the effects of alpha and of \
        temperature, which are means less that of all. Signs are the cells with a gain or loss as in the paper. The readings \
        whose gains correlate most with the paper's come first."
        .into();
    Table { caption, columns, rows }
}

fn pattern(name: String, pattern: &Pattern, n_cells: usize) -> Row {
    let points = |value: &f64| Cell::number(signed(100.0 * value, 2));
    let mut cells = vec![
        Cell::Text(name),
        Cell::number(signed(pattern.correlation, 2)),
        Cell::Text(format!("{} of {n_cells}", pattern.signs)),
        points(&pattern.gain),
    ];
    cells.extend(pattern.of_alpha.iter().chain(&pattern.of_temperature).map(points));
    Row::Cells(cells)
}

fn made_up(found: &MadeUp) -> String {
    let MadeUp { n, first, first_three, in_set, set_size, drawn } = found;
    let places: Vec<String> = drawn.iter().map(usize::to_string).collect();
    let [first, first_three, in_set] = [first, first_three, in_set].map(|share| 100.0 * share);
    format!(
        "How far this is to be trusted: each table that a reading made with one seed was taken for the paper, and the \
         other seeds were searched for it. Of these {n} tables, the true reading was the likeliest in {first:.0} \
         percent and among the first three in {first_three:.0} percent; the smallest set with 80 percent of \
         the probability, on average {set_size:.1} readings, held it in {in_set:.0} percent. Of ten tables drawn at \
         random it came to the places {}.",
        places.join(", ")
    )
}
