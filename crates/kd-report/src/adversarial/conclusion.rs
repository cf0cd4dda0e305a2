//! What the figures say of defensive distillation: comparisons, each with a verdict that the
//! intervals of its two figures choose, under one sentence that sums them up.

use std::cmp::Ordering;

use kd_core::record::{AttackKind, AttackLoss, AttackObjective};
use serde::Serialize;

use crate::comparison::{ClaimResult, paper};
use crate::document::{Block, Cell, Column, Row, Section, Table};
use crate::stats::Stat;

use super::transfer::answer;
use super::yardstick::{teacher, twin};
use super::{Adversarial, AttackSummary, AttackedModel, CensusSummary, Share};

/// What the figures say of one distilled model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conclusion {
    /// The distilled model.
    pub model: String,
    /// All attacks together, in a sentence.
    pub lead: String,
    /// One by one.
    pub comparisons: Vec<Comparison>,
}

/// A figure of the distilled model, and the one that it is measured by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What is compared.
    pub what: String,
    /// The distilled model's figure.
    pub ours: String,
    /// The other figure, and whose it is.
    pub other: String,
    /// What the two say.
    pub verdict: &'static str,
}

const CAPTION: &str = "Shares of the images, with intervals of 95 % in parentheses: two differ when \
    these do not touch.";

/// A sentence and a table for each conclusion.
pub(super) fn section(all: &Adversarial) -> Option<Section> {
    let blocks = all.conclusions.iter().flat_map(|c| [Block::Text(c.lead.clone()), table(c)]);
    Section::of("What defensive distillation defends against", blocks.collect())
}

fn table(conclusion: &Conclusion) -> Block {
    let words = |text: &String| Cell::Words(text.clone());
    let row = |c: &Comparison| {
        let verdict = Cell::Words(c.verdict.into());
        // On a phone the first two are seen.
        Row::Cells(vec![words(&c.what), verdict, Cell::Text(c.ours.clone()), words(&c.other)])
    };
    let names = ["compared", "verdict", &conclusion.model, "beside"];
    let rows = conclusion.comparisons.iter().map(row).collect();
    Block::Table(Table { caption: CAPTION.into(), columns: Column::plain(&names), rows })
}

/// One for each distilled model of the highest temperature.
pub(super) fn of(all: &Adversarial, claims: &[ClaimResult]) -> Vec<Conclusion> {
    let students = || all.models.iter().filter(|m| m.distilled && !m.attacks.is_empty());
    let highest = students().map(|m| m.temperature).max_by(f64::total_cmp);
    let hottest = |m: &&AttackedModel| highest.is_some_and(|t| t.total_cmp(&m.temperature).is_eq());
    let conclusions = students().filter(hottest).map(|m| conclusion(all, m, claims));
    conclusions.filter(|c| !c.comparisons.is_empty()).collect()
}

fn conclusion(all: &Adversarial, student: &AttackedModel, claims: &[ClaimResult]) -> Conclusion {
    let twin = twin(all, student);
    let [fgsm, pgd, cw] =
        [AttackKind::Fgsm, AttackKind::Pgd, AttackKind::Cw].map(|kind| student.plain(&kind));
    let mut comparisons = Vec::new();
    for attack in [fgsm, pgd].into_iter().flatten() {
        comparisons.extend(twin.and_then(|twin| white_box(attack, twin)));
        comparisons.extend(transfer(student, attack, claims));
    }
    comparisons.extend(twin.and_then(|twin| gradients(student, twin)));
    comparisons.extend(pgd.into_iter().flat_map(|plain| others(student, plain)));
    comparisons.extend(cw.zip(twin).and_then(|(cw, twin)| nearest(cw, twin)));
    let controls = all.models.iter().filter(|model| model.perturb.is_some());
    let worst = |model| worst_case(student, model, pgd.or(fgsm)?);
    comparisons.extend(controls.filter_map(worst));
    let whole = twin.and_then(worst);
    let lead = lead(student, whole.as_ref());
    comparisons.extend(whole);
    Conclusion { model: student.name.clone(), lead, comparisons }
}

/// What is left when an adversary takes the best of all attacks.
fn lead(student: &AttackedModel, whole: Option<&Comparison>) -> String {
    let start = format!("Distillation at T = {} (`{}`)", student.temperature, student.name);
    match whole {
        Some(Comparison { what, ours, other, verdict }) => {
            format!("{start} {verdict}. Of the images, {ours} are {what}; {other}.")
        }
        None => format!(
            "{start}: no other model stood under the same attacks, so that there is no verdict on \
             the whole."
        ),
    }
}

/// Two shares, and the verdict for fewer, as many or more.
fn compare(
    what: String,
    ours: &Share,
    (name, theirs): (&str, &Share),
    [less, equal, greater]: [&'static str; 3],
) -> Comparison {
    let verdict = match ours.compare(theirs) {
        Ordering::Less => less,
        Ordering::Equal => equal,
        Ordering::Greater => greater,
    };
    Comparison { what, ours: ours.words(), other: format!("{name} {}", theirs.words()), verdict }
}

/// A plain attack on the student and its twin.
fn white_box(attack: &AttackSummary, twin: &AttackedModel) -> Option<Comparison> {
    let theirs = (&*twin.name, &twin.under(attack)?.robust_accuracy);
    let words = ["easier to fool", "no difference to be seen", "looks defended"];
    Some(compare(format!("right under {}", attack.title()), &attack.robust_accuracy, theirs, words))
}

/// Images made on the student, shown to a teacher: what the paper calls defended.
fn transfer(
    student: &AttackedModel,
    attack: &AttackSummary,
    claims: &[ClaimResult],
) -> Option<Comparison> {
    let target = teacher(attack, student)?;
    let fooled = attack.success.as_ref()?;
    let is_answer = |c: &&ClaimResult| {
        c.model == student.id
            && answer(student, &c.id).is_some_and(|(a, _)| a.attack == attack.attack)
    };
    let paper =
        claims.iter().find(is_answer).map(|claim| format!("; the paper: {} %", paper(claim)));
    let paper = paper.unwrap_or_default();
    Some(Comparison {
        what: format!("images of {} that {} has right", attack.attack, target.name),
        ours: target.defended.as_ref()?.words(),
        other: format!("of them fool {} itself {}{paper}", student.name, fooled.words()),
        verdict: match fooled.interval[1] < 0.5 {
            true => "most of these images fool nobody",
            false => "a measure of transfer, not of defense",
        },
    })
}

/// Zero gradients, and the length of the logits that makes them.
fn gradients(student: &AttackedModel, twin: &AttackedModel) -> Option<Comparison> {
    let (ours, theirs) = (student.census.as_ref()?, twin.census.as_ref()?);
    let words = |census: &CensusSummary| {
        let length = census.logit_norm.mean;
        format!("{}, logits of length {length:.1}", census.zero_gradients.words())
    };
    Some(Comparison {
        what: "clean images whose gradient is exactly 0".into(),
        ours: words(ours),
        other: format!("{} {}", twin.name, words(theirs)),
        verdict: match ours.zero_gradients.compare(&theirs.zero_gradients) {
            Ordering::Greater => "there, attacks along it stand still, which is no robustness",
            _ if ours.zero_gradients.interval[1] < 0.05 => {
                "attacks do not fail for want of gradients"
            }
            _ => "no difference to be seen",
        },
    })
}

/// Attacks in the same ball that look at something else than plain PGD.
fn others(student: &AttackedModel, plain: &AttackSummary) -> Vec<Comparison> {
    const WORDS: [&str; 3] = [
        "the plain attack overstates robustness",
        "no difference to be seen",
        "no sign of hidden gradients",
    ];
    let theirs = (&*format!("under {}", plain.attack), &plain.robust_accuracy);
    let here = student.attacks.iter().filter(|a| a.main && a.same_ball(plain));
    let comparison = |other: &AttackSummary| {
        let what = format!("right under {} ({})", other.attack, how(other)?);
        Some(compare(what, &other.robust_accuracy, theirs, WORDS))
    };
    here.filter_map(comparison).collect()
}

/// What an attack does that plain ones do not.
fn how(attack: &AttackSummary) -> Option<String> {
    let settings = attack.settings.as_ref()?;
    let AttackObjective { kind, temperature } = settings.objective.clone().unwrap_or_default();
    match kind {
        _ if settings.kind == AttackKind::Square => Some("no gradient".into()),
        _ if settings.kind == AttackKind::Autoattack => Some("an ensemble".into()),
        _ if temperature > 1.0 => Some(format!("logits divided by {temperature}")),
        AttackLoss::Margin => Some("margin of the logits".into()),
        AttackLoss::Dlr => Some("ratio of logits".into()),
        _ => None,
    }
}

/// The nearest adversarial images.
fn nearest(attack: &AttackSummary, twin: &AttackedModel) -> Option<Comparison> {
    let (ours, theirs) = (attack.success.as_ref()?, twin.under(attack)?);
    let far = |distance: &Option<Stat>| {
        distance.as_ref().map_or(String::new(), |far| format!(", {:.2} away", far.mean))
    };
    Some(Comparison {
        what: format!("images for which {} finds an adversarial one", attack.title()),
        ours: ours.words() + &far(&attack.mean_distance),
        other: format!(
            "{} {}{}",
            twin.name,
            theirs.success.as_ref()?.words(),
            far(&theirs.mean_distance)
        ),
        verdict: match ours.interval {
            [low, _] if low > 0.95 => "no defense",
            [_, high] if high < 0.5 => "most images withstand it",
            _ if ours.mean() >= 1.0 => "none of these images withstands it",
            _ => "a part of the images withstands it",
        },
    })
}

/// What the best of all attacks leaves of two models; `None` where the one that looks better was
/// spared an attack that the other was not.
fn worst_case(
    student: &AttackedModel,
    other: &AttackedModel,
    ball: &AttackSummary,
) -> Option<Comparison> {
    let (ours, theirs) = (student.worst(ball)?, other.worst(ball)?);
    let (our_attacks, their_attacks) = (student.attacks_in(ball), other.attacks_in(ball));
    let is_fair = match ours.compare(theirs) {
        Ordering::Greater => our_attacks.is_superset(&their_attacks),
        Ordering::Equal => our_attacks == their_attacks,
        Ordering::Less => their_attacks.is_superset(&our_attacks),
    };
    let words = match other.perturb {
        Some(_) => [
            "training on adversarial images defends more",
            "as robust, as far as these images tell",
            "more robust than training on adversarial images",
        ],
        None => [
            "costs robustness",
            "adds nothing that these images can show",
            "defends a part of the images",
        ],
    };
    let what = format!("right under all attacks at {}", ball.ball());
    is_fair.then(|| compare(what, ours, (&other.name, theirs), words))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn of_1000(count: usize) -> Share {
        Share::of([(count, 1000)]).unwrap()
    }

    /// Twin, student and control of the fixture.
    fn models() -> [AttackedModel; 3] {
        let [_, twin, student, control] = fixture::summary().models.try_into().unwrap();
        [twin, student, control]
    }

    fn attack(model: &AttackedModel, name: &str) -> AttackSummary {
        model.attacks.iter().find(|a| a.main && a.attack == name).unwrap().clone()
    }

    #[test]
    fn the_fixture_has_every_comparison_with_its_figures_and_verdict() {
        let [conclusion] = &fixture::summary().conclusions[..] else { panic!("one at T = 100") };
        assert!(conclusion.lead.starts_with(
            "Distillation at T = 100 (`student-t100`) costs robustness. Of the images, \
             0.2\u{a0}%"
        ));
        let expected = [
            ("right under fgsm", "90.5", "student-t1 69.5", "looks defended"),
            (
                "images of fgsm",
                "69.6",
                "the paper: 65.00\u{2013}70.00 %",
                "most of these images fool",
            ),
            ("right under pgd, ", "89.3", "student-t1 34.4", "looks defended"),
            ("images of pgd", "69.0", "fool student-t100 itself 9.8", "most of these images fool"),
            ("clean images", "91.3", "length 19.5", "there, attacks along it stand still"),
            ("right under pgd-margin (margin of the logits)", "2.5", "under pgd 89.3", "the plain"),
            ("right under pgd-t (logits divided by 100)", "2.1", "under pgd 89.3", "the plain"),
            ("right under apgd-dlr (ratio of logits)", "1.2", "under pgd 89.3", "the plain"),
            ("right under square (no gradient)", "11.7", "under pgd 89.3", "the plain"),
            ("images for which cw", "100.0", "1.50 away", "no defense"),
            ("right under all", "0.2", "pgd7 95.5", "training on adversarial images defends more"),
            ("right under all", "0.2", "student-t1 32.5", "costs robustness"),
        ];
        assert_eq!(conclusion.comparisons.len(), expected.len());
        for (got, (what, ours, other, verdict)) in conclusion.comparisons.iter().zip(expected) {
            assert!(got.what.starts_with(what) && got.ours.starts_with(ours), "{got:?}");
            assert!(got.other.contains(other) && got.verdict.starts_with(verdict), "{got:?}");
        }
    }

    #[test]
    fn intervals_choose_the_verdict() {
        let [mut twin, mut student, mut trained] = models();
        let (ball, mut fgsm) = (attack(&student, "pgd"), attack(&student, "fgsm"));
        let mut plain = |count| {
            fgsm.robust_accuracy = of_1000(count);
            white_box(&fgsm, &twin).unwrap().verdict
        };
        let words = ["easier to fool", "no difference to be seen", "looks defended"];
        assert_eq!([500, 700, 905].map(&mut plain), words);
        let mut whole = |ours, theirs: usize| {
            student.attacks.last_mut().unwrap().robust_accuracy = of_1000(ours);
            let of = |model: &mut AttackedModel| {
                model.attacks.last_mut().unwrap().robust_accuracy = of_1000(theirs);
                worst_case(&student, model, &ball).unwrap().verdict
            };
            [of(&mut twin), of(&mut trained)]
        };
        assert_eq!(
            whole(100, 900),
            ["costs robustness", "training on adversarial images defends more"]
        );
        assert!(whole(500, 510)[0].starts_with("adds nothing"));
        assert!(whole(900, 100)[1].starts_with("more robust than training"));
        let mut cw = attack(&student, "cw");
        let mut near = |count| {
            cw.success = Some(of_1000(count));
            nearest(&cw, &twin).unwrap().verdict
        };
        assert_eq!([999, 100].map(&mut near), ["no defense", "most images withstand it"]);
        assert_eq!(near(700), "a part of the images withstands it");
    }

    #[test]
    fn images_that_fool_their_own_model_are_transfer() {
        let [_, student, _] = models();
        let mut fgsm = attack(&student, "fgsm");
        fgsm.success = Some(of_1000(900));
        let strong = transfer(&student, &fgsm, &[]).unwrap();
        assert!(
            strong.verdict.starts_with("a measure of transfer") && !strong.other.contains("paper")
        );
        fgsm.transfer.clear();
        assert!(transfer(&student, &fgsm, &[]).is_none());
    }

    #[test]
    fn a_model_that_was_spared_an_attack_does_not_look_better() {
        let [twin, mut student, trained] = models();
        let ball = attack(&student, "pgd");
        student.attacks.retain(|attack| attack.attack != "square");
        assert!(worst_case(&student, &trained, &ball).is_some(), "it withstood more attacks");
        for mut spared in [trained, twin] {
            spared.attacks.retain(|attack| !attack.attack.starts_with("pgd"));
            assert!(worst_case(&student, &spared, &ball).is_none());
        }
        student.attacks.pop();
        assert!((student.worst(&ball).unwrap().mean() - 0.012).abs() < 1e-12, "the best attack's");
    }

    #[test]
    fn nothing_distilled_is_nothing_concluded() {
        let mut records = fixture::records(1);
        records.retain(|record| !matches!(record, kd_core::record::Record::Final(_)));
        assert!(fixture::of(records).conclusions.is_empty());
    }
}
