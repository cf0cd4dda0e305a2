//! The report of made-up runs of ImageNet.

use kd_core::record::Record;

use super::fixture::{Made, records};
use super::{Curves, OrderVerdict};
use crate::Verdict;
use crate::tests::{Written, assert_well_formed, write};

fn curves(written: &Written) -> &Curves {
    written.report.curves.as_ref().unwrap()
}

fn verdicts(made: &Made) -> Vec<OrderVerdict> {
    let written = write(&records(made));
    curves(&written).orders.iter().map(|order| order.verdict).collect()
}

#[test]
fn figures_3_to_6_are_drawn_and_told_in_words() {
    let written = write(&records(&Made::default()));
    let Written { html, markdown, .. } = &written;
    assert_well_formed(html);
    for n in 3..=6 {
        assert!(html.contains(&format!("<h3>Figure {n}: ")), "Figure {n}");
    }
    let words = "aria-label=\"Figure 5: top-1 error, validation set, percent, by epoch. \
                 At the end: baseline 34.00, t0.5 32.00, t10 30.00.\"";
    assert!(html.contains(words));
    assert!(html.contains("t10: α 0.5, T 10") && html.contains("baseline: no teacher"));
    // The four, the objective and its rate.
    assert_eq!(html.matches("viewBox=\"0 0 1080 640\"").count(), 6);
    assert!(!html.contains("NaN") && !html.contains("errors by class"));
    assert!(!html.contains("test accuracy, percent<"), "the same once more");
    assert!(html.contains("objective above its lowest, nats"));
    for text in [html, markdown] {
        assert!(text.contains("its teacher, resnet50, from a file"));
        assert!(text.contains("23.87") && text.contains("7.14"), "the teacher's errors");
        assert!(text.contains("What the paper leaves open") && text.contains("0.125 to 0.5"));
        assert!(text.contains("names 3 more") && !text.contains("n01440764/20.JPEG"));
        assert!(text.contains("66.7"), "two thirds of the teacher's work were saved");
    }
}

#[test]
fn an_order_is_reproduced_contradicted_or_open() {
    let of = |errors| verdicts(&Made { errors, ..Made::default() });
    assert_eq!(of([0.30, 0.32, 0.34])[2..], [OrderVerdict::Reproduced; 2]);
    assert_eq!(of([0.30, 0.30, 0.34])[2..], [OrderVerdict::Undecided; 2]);
    assert_eq!(of([0.34, 0.32, 0.30])[2..], [OrderVerdict::Contradicted; 2]);
    assert_eq!(of([0.30, 0.32, 0.34]).len(), 4, "two on the training set");
}

#[test]
fn an_order_of_the_paper_is_counted_and_shown_in_the_readme() {
    let written = write(&records(&Made { seeds: 3, ..Made::default() }));
    assert!(written.html.contains("4 reproduced, 0 not decided, 0 otherwise"));
    assert!(!written.html.contains("not the official ones"));
    assert!(written.report.claims.is_empty() && written.html.contains("= reproduced"));
    let table = crate::results_table(&written.report);
    assert_eq!(table.lines().count(), 2 + 4, "{table}");
    assert!(table.contains("t10 &lt; t0.5 &lt; baseline"), "{table}");
}

#[test]
fn other_images_than_the_papers_never_decide_an_order() {
    let none = |records: &[Record]| {
        let written = write(records);
        assert!(written.report.claims.iter().all(|claim| claim.verdict == Verdict::None));
        assert!(!curves(&written).orders.is_empty() && !curves(&written).is_judged());
        assert!(written.html.contains("no order gets a verdict"));
        written
    };
    let synthetic = none(&records(&Made { synthetic: true, ..Made::default() }));
    assert!(curves(&synthetic).references.is_empty() && synthetic.html.contains("SYNTHETIC"));
    let mut packed = records(&Made::default());
    let Record::Run(run) = &mut packed[0] else { unreachable!() };
    run.reencoded = true;
    assert!(none(&packed).html.contains("were encoded anew"));
    let mut fewer = records(&Made::default());
    for record in &mut fewer {
        if let Record::Final(last) = record {
            last.last.total -= 1;
            last.how.n_train -= 1;
        }
    }
    assert!(none(&fewer).html.contains("not the official ones"));
}

#[test]
fn published_numbers_stand_beside_the_models_that_name_them() {
    let written = write(&records(&Made::default()));
    let references = &curves(&written).references;
    let ours: Vec<_> = references.iter().map(|r| (r.reference.id.as_str(), r.ours.len())).collect();
    assert!(ours.contains(&("imagenet/resnet18/baseline", 1)), "{ours:?}");
    assert!(ours.contains(&("imagenet/resnet18/t4", 0)), "{ours:?}");
    assert!(written.markdown.contains("30.24") && written.markdown.contains("28.65"));
}

#[test]
fn of_few_classes_the_five_largest_logits_say_nothing() {
    let mut records = records(&Made::default());
    let Record::Run(run) = &mut records[0] else { unreachable!() };
    run.suite = "own".into();
    for record in &mut records {
        if let Record::Final(last) = record {
            last.last.classes.truncate(2);
            last.how.claim = None;
        }
    }
    let Written { html, .. } = write(&records);
    assert_well_formed(&html);
    assert!(html.contains("Top-1 error") && !html.to_lowercase().contains("top-5"));
}

/// In another suite, and while the first seed is on its way.
#[test]
fn any_training_with_points_is_drawn_also_before_its_end() {
    let mut records = records(&Made { seeds: 1, n_epochs: 100, ..Made::default() });
    records.retain(|record| matches!(record, Record::Run(_) | Record::Curve(_)));
    let Record::Run(run) = &mut records[0] else { unreachable!() };
    run.suite = "mnist".into();
    let Written { report, html, .. } = write(&records);
    assert_well_formed(&html);
    assert!(html.contains("<h3>Top-5 error, test set, percent</h3>") && !html.contains("Figure 3"));
    assert!(html.contains("t10: not finished") && html.contains("not complete"));
    assert!(html.contains("Of up to 400 recorded points every 2 neighbors"));
    let curves = report.curves.unwrap();
    assert!(curves.orders.is_empty() && curves.remarks.is_empty());
    assert!(curves.students.iter().all(|student| !student.finished && student.n_points == 400));
}

#[test]
fn a_teachers_own_course_is_no_figure_of_the_paper() {
    let mut records = records(&Made::default());
    records.retain(|record| match record {
        Record::Curve(point) => point.id.model == "baseline",
        Record::Epoch(epoch) => epoch.id.model == "baseline",
        Record::Final(last) => last.id.model == "baseline",
        _ => true,
    });
    let Written { html, .. } = write(&records);
    assert!(
        html.contains("<h3>Top-1 error, test set, percent</h3>") && !html.contains("<h3>Figure")
    );
}

#[test]
fn bands_are_drawn_over_seeds() {
    let written = write(&records(&Made { seeds: 3, ..Made::default() }));
    assert!(written.html.contains("Lines are means over 3 seeds, bands ± one standard deviation"));
    assert!(written.html.matches("<polygon").count() >= 4 * 3);
    let one = write(&records(&Made::default()));
    assert!(one.html.contains("One seed."));
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "\"></div><script>alert(1)</script>|`";
    let mut records = records(&Made::default());
    for record in &mut records {
        match record {
            Record::Curve(point) => point.id.model += hostile,
            Record::Final(last) => last.id.model += hostile,
            Record::Teacher(teacher) => teacher.network += hostile,
            Record::BadImages(bad) => bad.images[0] = [hostile.into(), hostile.into()],
            Record::SoftTargets(targets) => targets.training += hostile,
            _ => {}
        }
    }
    let Written { html, markdown, .. } = write(&records);
    assert_well_formed(&html);
    assert!(!html.contains("<script") && !markdown.contains("<script"));
}
