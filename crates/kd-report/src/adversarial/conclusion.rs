//! What the figures say of defensive distillation, in one paragraph.
//!
//! Every sentence is chosen by comparing the intervals of two figures, and states both.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use kd_core::record::{AttackKind, AttackLoss, AttackObjective};

use crate::comparison::ClaimResult;
use crate::document::{Block, Section};
use crate::sections::paper;
use crate::stats::Verdict;

use super::transfer::answer;
use super::{Adversarial, AttackSummary, AttackedModel, CensusSummary, Share, TransferSummary};

/// The paragraphs, under the question that they answer.
pub(super) fn section(all: &Adversarial) -> Option<Section> {
    let blocks = all.conclusions.iter().cloned().map(Block::Text).collect();
    Section::of("What defensive distillation defends against", blocks)
}

/// One for each distilled model of the highest temperature.
pub(super) fn paragraphs(all: &Adversarial, claims: &[ClaimResult]) -> Vec<String> {
    let students = || all.models.iter().filter(|m| m.distilled && !m.attacks.is_empty());
    let highest = students().map(|m| m.temperature).max_by(f64::total_cmp);
    let at_highest =
        students().filter(|m| highest.is_some_and(|t| t.total_cmp(&m.temperature).is_eq()));
    let paragraphs = at_highest.map(|student| paragraph(all, student, claims));
    paragraphs.filter(|paragraph| !paragraph.is_empty()).collect()
}

fn paragraph(all: &Adversarial, student: &AttackedModel, claims: &[ClaimResult]) -> String {
    let twin = twin(all, student);
    let plain = student.find(is_plain_pgd);
    let mut sentences = Vec::new();
    for attack in [student.find(is_plain_fgsm), plain].into_iter().flatten() {
        sentences.push(white_box(student, attack, twin));
        sentences.extend(transfer(student, attack, claims));
    }
    sentences.extend(counted(student, twin));
    if let Some(plain) = plain {
        sentences.extend(other_objectives(student, plain));
        sentences.extend(gradient_free(student, plain));
    }
    sentences.extend(student.find(is_nearest).and_then(|attack| nearest(student, attack, twin)));
    let ball = plain.or(student.find(is_plain_fgsm));
    let controls = all.models.iter().filter(|model| model.perturb.is_some());
    if let Some(ball) = ball {
        sentences.extend(controls.filter_map(|model| control(student, model, ball)));
        sentences.extend(twin.and_then(|twin| in_all(student, twin, ball)));
    }
    if !sentences.is_empty() {
        sentences.push("Intervals in parentheses are of 95 %.".into());
    }
    sentences.join(" ")
}

/// The model that is the same but for the temperature: of the same training, distilled at the
/// lowest; else one that learned from labels.
fn twin<'a>(all: &'a Adversarial, student: &AttackedModel) -> Option<&'a AttackedModel> {
    let lower = |model: &&AttackedModel| model.temperature < student.temperature;
    let others = || all.models.iter().filter(|model| model.perturb.is_none());
    let cooler =
        others().filter(|m| m.distilled && m.id.training == student.id.training).filter(lower);
    let coolest = cooler.min_by(|a, b| a.temperature.total_cmp(&b.temperature));
    let on_labels = others().filter(|model| !model.distilled && !model.attacks.is_empty());
    coolest.or_else(|| on_labels.into_iter().find(|m| m.temperature <= student.temperature))
}

impl AttackedModel {
    fn find(&self, is: fn(&AttackSummary) -> bool) -> Option<&AttackSummary> {
        self.attacks.iter().find(|attack| attack.main && is(attack))
    }

    /// The same attack at the same radius.
    fn under(&self, attack: &AttackSummary) -> Option<&AttackSummary> {
        let same = |a: &&AttackSummary| a.attack == attack.attack && a.same_ball(attack);
        self.attacks.iter().find(same)
    }

    /// Names of the attacks of one norm and radius.
    fn attacks_in(&self, ball: &AttackSummary) -> BTreeSet<&str> {
        let inside = self.attacks.iter().filter(|a| a.same_ball(ball) && !a.is_worst_case());
        inside.map(|attack| attack.attack.as_str()).collect()
    }

    /// Robust accuracy against all attacks of one norm and radius together; where they are not
    /// joined, against the best of them.
    fn worst(&self, ball: &AttackSummary) -> Option<&Share> {
        let inside = || self.attacks.iter().filter(|a| a.same_ball(ball));
        let joined = inside().find(|a| a.is_worst_case()).map(|a| &a.robust_accuracy);
        let single = inside().map(|a| &a.robust_accuracy);
        joined.or_else(|| single.min_by(|a, b| a.mean().total_cmp(&b.mean())))
    }
}

impl AttackSummary {
    /// Whether it is of this kind; a worst case is of none.
    fn is(&self, kind: &AttackKind) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.kind == *kind)
    }

    /// What it makes larger.
    fn objective(&self) -> AttackObjective {
        let settings = self.settings.as_ref();
        settings.and_then(|settings| settings.objective.clone()).unwrap_or_default()
    }
}

fn is_plain_fgsm(attack: &AttackSummary) -> bool {
    attack.is(&AttackKind::Fgsm) && attack.objective() == AttackObjective::default()
}

fn is_plain_pgd(attack: &AttackSummary) -> bool {
    attack.is(&AttackKind::Pgd) && attack.objective() == AttackObjective::default()
}

/// Carlini and Wagner's, at confidence 0.
fn is_nearest(attack: &AttackSummary) -> bool {
    let kappa = attack.settings.as_ref().and_then(|settings| settings.kappa);
    attack.is(&AttackKind::Cw) && kappa.unwrap_or(0.0) <= 0.0
}

/// A plain attack on the student and its twin.
fn white_box(
    student: &AttackedModel,
    attack: &AttackSummary,
    twin: Option<&AttackedModel>,
) -> String {
    let (name, ours) = (&student.name, &attack.robust_accuracy);
    let start = format!(
        "Under `{}`, `{name}` stays right on {} of the images",
        attack.title(),
        ours.words()
    );
    let Some((twin, theirs)) = twin.and_then(|twin| Some((twin, twin.under(attack)?))) else {
        return format!("{start}.");
    };
    let theirs = &theirs.robust_accuracy;
    let end = match ours.compare(theirs) {
        Ordering::Greater => "against this attack it looks defended",
        Ordering::Less => "it is easier to fool",
        Ordering::Equal => "no difference that these images could show",
    };
    format!("{start} and `{}` on {}: {end}.", twin.name, theirs.words())
}

/// The paper's number, and how many of the images fool the student itself.
fn transfer(
    student: &AttackedModel,
    attack: &AttackSummary,
    claims: &[ClaimResult],
) -> Option<String> {
    let target = teacher(attack, student)?;
    let (defended, fooled) = (target.defended.as_ref()?, attack.success.as_ref()?);
    let name = &student.name;
    let start = format!(
        "Of the images that `{}` had right before, it still has right {}, which the paper calls \
         defended{}",
        target.name,
        defended.words(),
        against_the_paper(student, attack, claims)
    );
    let end = match (fooled.mean() < 0.5, &target.transfer_rate) {
        (true, _) => {
            let fooled = fooled.words();
            format!("but only {fooled} fool `{name}` itself, so that most of these fool nobody")
        }
        (false, Some(rate)) => format!(
            "{} fool `{name}` itself, and {} of those `{}` too",
            fooled.words(),
            rate.words(),
            target.name
        ),
        (false, None) => format!("{} fool `{name}` itself", fooled.words()),
    };
    Some(format!("{start}; {end}."))
}

/// The model that the paper tests on: the one that shares the student's mark, else the first that
/// learned from labels.
fn teacher<'a>(attack: &'a AttackSummary, student: &AttackedModel) -> Option<&'a TransferSummary> {
    let plain = || attack.transfer.iter().filter(|target| target.plain);
    let marked = plain().find(|target| target.claim.is_some() && target.claim == student.claim);
    marked.or_else(|| plain().next())
}

fn against_the_paper(
    student: &AttackedModel,
    attack: &AttackSummary,
    claims: &[ClaimResult],
) -> String {
    let of_student = |c: &&ClaimResult| {
        c.model == student.id
            && answer(student, &c.id).is_some_and(|(a, _)| a.attack == attack.attack)
    };
    let Some(claim) = claims.iter().find(of_student) else { return String::new() };
    let words = match claim.verdict {
        Verdict::Reproduced => "as the paper's",
        Verdict::Better => "more than the paper's",
        Verdict::Worse => "less than the paper's",
        Verdict::None => "not comparable with the paper's",
    };
    format!(", {words} {} %", paper(claim))
}

/// Zero gradients and the length of the logits.
fn counted(student: &AttackedModel, twin: Option<&AttackedModel>) -> Option<String> {
    let ours = student.census.as_ref()?;
    let theirs = twin.and_then(|twin| Some((twin, twin.census.as_ref()?)));
    let zero = &ours.zero_gradients;
    let more = match theirs {
        Some((_, theirs)) => zero.compare(&theirs.zero_gradients).is_gt(),
        None => zero.interval[0] > 0.0,
    };
    let end = match more {
        true => "where it is, an attack along it stands still, which is not robustness",
        false => "it is not for want of gradients that attacks fail where they do",
    };
    let start = format!("For `{}` the gradient of the cross entropy is exactly 0 on", student.name);
    let Some((twin, theirs)) = theirs else {
        return Some(format!("{start} {} of the clean images: {end}.", zero.words()));
    };
    Some(format!(
        "{start} {} of the clean images, for `{}` on {}: {end}. {}",
        zero.words(),
        twin.name,
        theirs.zero_gradients.words(),
        logits(student, ours, twin, theirs)
    ))
}

fn logits(
    student: &AttackedModel,
    ours: &CensusSummary,
    twin: &AttackedModel,
    theirs: &CensusSummary,
) -> String {
    let (long, short) = (ours.logit_norm.mean, theirs.logit_norm.mean);
    let ratio = long / short.max(f64::MIN_POSITIVE);
    let than = match ratio > 1.0 {
        true => format!("{ratio:.1} times"),
        false => "no more than".into(),
    };
    format!(
        "The logits of `{}` (T = {}) have length {long:.1}, {than} the {short:.1} of `{}` (T = {}).",
        student.name, student.temperature, twin.name, twin.temperature
    )
}

/// Attacks in the same ball that look at other functions of the logits, against plain PGD.
fn other_objectives(student: &AttackedModel, plain: &AttackSummary) -> Vec<String> {
    let others = student.attacks.iter().filter(|a| a.main && a.same_ball(plain));
    let named = others.filter_map(|other| Some((other, what(other)?)));
    let (fewer, others): (Vec<_>, Vec<_>) =
        named.partition(|(other, _)| other.robust_accuracy.compare(&plain.robust_accuracy).is_lt());
    let list = |attacks: &[(&AttackSummary, String)]| {
        let each = |(other, what): &(&AttackSummary, String)| {
            format!("{} under `{}` ({what})", other.robust_accuracy.words(), other.attack)
        };
        attacks.iter().map(each).collect::<Vec<_>>().join(", ")
    };
    let name = &plain.attack;
    let fewer = (!fewer.is_empty()).then(|| {
        format!(
            "Fewer stay right than under `{name}`, which overstates robustness: {}.",
            list(&fewer)
        )
    });
    let others = (!others.is_empty())
        .then(|| format!("No fewer stay right than under `{name}`: {}.", list(&others)));
    fewer.into_iter().chain(others).collect()
}

/// What an attack looks at; `None` for plain ones and those without gradients.
fn what(attack: &AttackSummary) -> Option<String> {
    let AttackObjective { kind, temperature } = attack.objective();
    match kind {
        _ if attack.is(&AttackKind::Autoattack) => Some("an ensemble".into()),
        _ if temperature > 1.0 => Some(format!("logits divided by {temperature}")),
        AttackLoss::Margin => Some("margin of the logits".into()),
        AttackLoss::Dlr => Some("ratio of logits".into()),
        _ => None,
    }
}

/// Square, against plain PGD.
fn gradient_free(student: &AttackedModel, plain: &AttackSummary) -> Option<String> {
    let is_square = |a: &&AttackSummary| a.main && a.is(&AttackKind::Square) && a.same_ball(plain);
    let square = student.attacks.iter().find(is_square)?;
    let ours = &square.robust_accuracy;
    let (than, end) = match ours.compare(&plain.robust_accuracy) {
        Ordering::Less => ("fewer", "what stopped that one was its gradients, not the model"),
        _ => ("no fewer", "no sign of hidden gradients"),
    };
    Some(format!(
        "`{}`, which uses no gradient, leaves {} right, {than} than `{}`: {end}.",
        square.attack,
        ours.words(),
        plain.attack
    ))
}

/// The nearest adversarial images.
fn nearest(
    student: &AttackedModel,
    attack: &AttackSummary,
    twin: Option<&AttackedModel>,
) -> Option<String> {
    let success = attack.success.as_ref()?;
    let distance = attack.mean_distance.as_ref().map_or(String::new(), |distance| {
        let theirs =
            twin.and_then(|twin| Some((twin, twin.under(attack)?.mean_distance.as_ref()?)));
        let theirs = theirs.map_or(String::new(), |(twin, theirs)| {
            format!(" (`{}`: {:.2})", twin.name, theirs.mean)
        });
        format!(", at a mean distance of {:.2}{theirs}", distance.mean)
    });
    let end = match success.interval {
        [low, _] if low > 0.95 => "against it there is no defense",
        [_, high] if high < 0.5 => "most images withstand it",
        _ if success.mean() >= 1.0 => "none of these images withstands it",
        _ => "a part of the images withstands it",
    };
    Some(format!(
        "`{}`, which looks for the nearest adversarial image, finds one for {} of those that `{}` \
         had right{distance}: {end}.",
        attack.title(),
        success.words(),
        student.name
    ))
}

/// A model that was trained on adversarial images.
fn control(
    student: &AttackedModel,
    control: &AttackedModel,
    ball: &AttackSummary,
) -> Option<String> {
    let (order, ours, theirs) = worst_cases(control, student, ball)?;
    let end = match order {
        Ordering::Greater => "the more robust of the two",
        Ordering::Equal => "no more robust than these images can tell",
        Ordering::Less => "the less robust of the two",
    };
    Some(format!(
        "In the worst case of all attacks at {}, `{}`, which was trained on adversarial images, \
         keeps {}, `{}` {}: it is {end}.",
        ball.ball(),
        control.name,
        ours.words(),
        student.name,
        theirs.words()
    ))
}

/// The worst case with and without the temperature.
fn in_all(student: &AttackedModel, twin: &AttackedModel, ball: &AttackSummary) -> Option<String> {
    let (order, ours, theirs) = worst_cases(student, twin, ball)?;
    let end = match order {
        Ordering::Greater => "defends a part of the images",
        Ordering::Equal => "adds nothing that these images can show",
        Ordering::Less => "costs robustness",
    };
    Some(format!(
        "In all, an adversary who takes the best of these attacks at {} leaves `{}` {} and `{}` {}: \
         distillation at T = {} {end}.",
        ball.ball(),
        student.name,
        ours.words(),
        twin.name,
        theirs.words(),
        student.temperature
    ))
}

/// The worst cases of two models, compared; `None` where the one that looks better was spared an
/// attack that the other was not.
fn worst_cases<'a>(
    one: &'a AttackedModel,
    other: &'a AttackedModel,
    ball: &AttackSummary,
) -> Option<(Ordering, &'a Share, &'a Share)> {
    let (ours, theirs) = (one.worst(ball)?, other.worst(ball)?);
    let (our_attacks, their_attacks) = (one.attacks_in(ball), other.attacks_in(ball));
    let order = ours.compare(theirs);
    let is_fair = match order {
        Ordering::Greater => our_attacks.is_superset(&their_attacks),
        Ordering::Equal => our_attacks == their_attacks,
        Ordering::Less => their_attacks.is_superset(&our_attacks),
    };
    is_fair.then_some((order, ours, theirs))
}

#[cfg(test)]
mod tests {
    use kd_core::record::Record;
    use serde_json::json;

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
    fn the_paragraph_of_the_fixture_has_every_sentence_and_figure() {
        let all = fixture::summary();
        let [paragraph] = &all.conclusions[..] else { panic!("one student at T = 100") };
        for part in [
            "Under `fgsm, L\u{221e} 0.1`, `student-t100` stays right on 90.5\u{a0}% (88.5\u{2013}92.2) of \
             the images and `student-t1` on 69.5\u{a0}%",
            "Of the images that `teacher` had right before, it still has right 69.6\u{a0}%",
            "as the paper's 65.00\u{2013}70.00 %; but only 8.6\u{a0}%",
            "exactly 0 on 91.3\u{a0}%",
            "length 776.3, 39.8 times the 19.5 of `student-t1` (T = 1).",
            "2.5\u{a0}% (1.7\u{2013}3.7) under `pgd-margin` (margin of the logits), 2.1\u{a0}%",
            "`pgd-t` (logits divided by 100)",
            "`apgd-dlr` (ratio of logits).",
            "`square`, which uses no gradient, leaves 11.7\u{a0}%",
            "against it there is no defense",
            "it is the more robust of the two",
            "distillation at T = 100 costs robustness.",
        ] {
            assert!(paragraph.contains(part), "{part}\nis not in\n{paragraph}");
        }
    }

    #[test]
    fn white_box_attacks_are_compared_with_the_twin() {
        let [twin, student, _] = models();
        let mut fgsm = attack(&student, "fgsm");
        let mut sentence = |count| {
            fgsm.robust_accuracy = of_1000(count);
            white_box(&student, &fgsm, Some(&twin))
        };
        assert!(sentence(905).ends_with("against this attack it looks defended."));
        assert!(sentence(700).ends_with("no difference that these images could show."));
        assert!(sentence(500).ends_with("it is easier to fool."));
        assert!(
            sentence(500).contains("50.0\u{a0}% (46.9\u{2013}53.1) of the images and `student-t1`")
        );
        assert!(white_box(&student, &fgsm, None).ends_with("of the images."));
    }

    #[test]
    fn transfer_says_whether_the_images_fool_their_own_model() {
        let [_, student, _] = models();
        let mut fgsm = attack(&student, "fgsm");
        let weak = transfer(&student, &fgsm, &[]).unwrap();
        assert!(weak.contains("which the paper calls defended; but only 8.6\u{a0}%"), "{weak}");
        assert!(weak.ends_with("most of these fool nobody."), "{weak}");
        fgsm.success = Some(of_1000(900));
        let strong = transfer(&student, &fgsm, &[]).unwrap();
        assert!(
            strong.contains(
                "defended; 90.0\u{a0}% (88.0\u{2013}91.7) fool `student-t100` itself, and"
            )
        );
        assert!(strong.ends_with("of those `teacher` too."), "{strong}");
        fgsm.transfer.clear();
        assert!(transfer(&student, &fgsm, &[]).is_none());
    }

    #[test]
    fn the_papers_number_is_called_by_its_verdict() {
        let (mut claims, student) = (fixture::claims(), models()[1].clone());
        let fgsm = attack(&student, "fgsm");
        let mut words = |verdict| {
            claims.iter_mut().for_each(|claim| claim.verdict = verdict);
            against_the_paper(&student, &fgsm, &claims)
        };
        assert_eq!(words(Verdict::Reproduced), ", as the paper's 65.00\u{2013}70.00 %");
        assert!(words(Verdict::Better).starts_with(", more than the paper's"));
        assert!(words(Verdict::Worse).starts_with(", less than the paper's"));
        assert!(words(Verdict::None).starts_with(", not comparable with the paper's"));
        assert_eq!(against_the_paper(&student, &fgsm, &[]), "");
    }

    #[test]
    fn zero_gradients_are_compared_with_the_twin() {
        let [mut twin, student, _] = models();
        let sentence = counted(&student, Some(&twin)).unwrap();
        assert!(sentence.contains("an attack along it stands still"), "{sentence}");
        assert!(sentence.contains("for `student-t1` on 0.4\u{a0}%"), "{sentence}");
        let reverse = counted(&twin, Some(&student)).unwrap();
        assert!(reverse.contains("it is not for want of gradients"), "{reverse}");
        assert!(
            reverse.contains("length 19.5, no more than the 776.3 of `student-t100`"),
            "{reverse}"
        );
        assert!(counted(&student, None).unwrap().contains("stands still"));
        twin.census.as_mut().unwrap().zero_gradients = of_1000(0);
        assert!(counted(&twin, None).unwrap().contains("it is not for want of gradients"));
        twin.census = None;
        assert!(counted(&twin, None).is_none());
    }

    #[test]
    fn other_objectives_are_compared_with_plain_pgd() {
        let [_, mut student, _] = models();
        let plain = attack(&student, "pgd");
        let [fewer] = &other_objectives(&student, &plain)[..] else { panic!("all find more") };
        assert!(
            fewer.starts_with("Fewer stay right than under `pgd`, which overstates"),
            "{fewer}"
        );
        for attack in student.attacks.iter_mut().filter(|a| a.attack != "apgd-dlr") {
            attack.robust_accuracy = of_1000(900);
        }
        let [fewer, others] = &other_objectives(&student, &plain)[..] else { panic!("both") };
        assert!(fewer.contains("`apgd-dlr`") && !fewer.contains("`pgd-t`"), "{fewer}");
        assert!(
            others.starts_with("No fewer stay right than under `pgd`: 90.0\u{a0}%"),
            "{others}"
        );
        assert!(others.contains("`pgd-margin`") && others.contains("`pgd-t`"), "{others}");
        assert!(!others.contains("`square`") && !others.contains("`fgsm`"), "{others}");
        student.attacks.clear();
        assert!(other_objectives(&student, &plain).is_empty());
    }

    #[test]
    fn an_attack_without_gradients_is_compared_with_plain_pgd() {
        let [_, mut student, _] = models();
        let mut plain = attack(&student, "pgd");
        let masked = gradient_free(&student, &plain).unwrap();
        assert!(
            masked.contains("11.7\u{a0}%") && masked.ends_with("its gradients, not the model.")
        );
        plain.robust_accuracy = of_1000(50);
        let sound = gradient_free(&student, &plain).unwrap();
        assert!(sound.ends_with("no fewer than `pgd`: no sign of hidden gradients."), "{sound}");
        student.attacks.retain(|attack| attack.attack != "square");
        assert!(gradient_free(&student, &plain).is_none());
    }

    #[test]
    fn the_nearest_images_say_whether_there_is_a_defense() {
        let [twin, student, _] = models();
        let mut cw = attack(&student, "cw");
        let mut sentence = |count| {
            cw.success = Some(of_1000(count));
            nearest(&student, &cw, Some(&twin)).unwrap()
        };
        assert!(
            sentence(999).contains("at a mean distance of 1.60 (`student-t1`: 1.50): against it")
        );
        assert!(sentence(700).ends_with("a part of the images withstands it."));
        assert!(sentence(100).ends_with("most images withstand it."));
        cw.success = Share::of([(50, 50)]);
        let few = nearest(&student, &cw, None).unwrap();
        assert!(few.ends_with("none of these images withstands it."), "{few}");
    }

    #[test]
    fn the_control_and_the_whole_are_compared_in_the_worst_case() {
        let [mut twin, mut student, mut trained] = models();
        let ball = attack(&student, "pgd");
        let set = |model: &mut AttackedModel, count| {
            model.attacks.last_mut().unwrap().robust_accuracy = of_1000(count);
        };
        let mut sentence = |count| {
            set(&mut trained, count);
            set(&mut student, 500);
            control(&student, &trained, &ball).unwrap()
        };
        assert!(
            sentence(955)
                .contains("keeps 95.5\u{a0}% (94.0\u{2013}96.6), `student-t100` 50.0\u{a0}%")
        );
        assert!(sentence(955).ends_with("it is the more robust of the two."));
        assert!(sentence(500).ends_with("no more robust than these images can tell."));
        assert!(sentence(100).ends_with("the less robust of the two."));
        let mut whole = |count| {
            set(&mut twin, count);
            in_all(&student, &twin, &ball).unwrap()
        };
        assert!(whole(100).ends_with("T = 100 defends a part of the images."));
        assert!(whole(510).ends_with("T = 100 adds nothing that these images can show."));
        assert!(whole(900).ends_with("T = 100 costs robustness."));
    }

    #[test]
    fn a_model_that_was_spared_an_attack_does_not_look_better() {
        let [twin, mut student, trained] = models();
        let ball = attack(&student, "pgd");
        assert!(
            control(&student, &trained, &ball).is_some()
                && in_all(&student, &twin, &ball).is_some()
        );
        student.attacks.retain(|attack| attack.attack != "square");
        assert!(control(&student, &trained, &ball).is_some(), "the control withstood more attacks");
        assert!(in_all(&student, &twin, &ball).is_some(), "so did the twin");
        let mut spared = trained.clone();
        spared.attacks.retain(|attack| !attack.attack.starts_with("pgd"));
        assert!(control(&student, &spared, &ball).is_none());
        let mut spared = twin.clone();
        spared.attacks.retain(|attack| !attack.attack.starts_with("pgd"));
        assert!(in_all(&student, &spared, &ball).is_none());
    }

    #[test]
    fn the_worst_of_single_attacks_stands_in_for_the_worst_case() {
        let [_, mut student, _] = models();
        let ball = attack(&student, "pgd");
        assert!((student.worst(&ball).unwrap().mean() - 0.002).abs() < 1e-12);
        student.attacks.pop();
        assert!((student.worst(&ball).unwrap().mean() - 0.012).abs() < 1e-12, "DLR's");
    }

    #[test]
    fn attacks_are_known_by_their_settings() {
        let [_, student, _] = models();
        let named = |is| student.find(is).map(|attack| attack.attack.as_str());
        assert_eq!(named(is_plain_fgsm), Some("fgsm"));
        assert_eq!(named(is_plain_pgd), Some("pgd"), "neither margin nor divided logits");
        assert_eq!(named(is_nearest), Some("cw"));
        let mut cw = attack(&student, "cw");
        cw.settings = Some(fixture::settings(json!({"kind": "cw", "kappa": 10.0})));
        assert!(!is_nearest(&cw));
    }

    #[test]
    fn the_twin_is_the_cooler_student_else_one_that_learned_from_labels() {
        let all = fixture::summary();
        let name = |student| twin(&all, student).map(|twin| twin.name.as_str());
        assert_eq!(name(&all.models[2]), Some("student-t1"));
        assert_eq!(name(&all.models[1]), Some("teacher"));
    }

    #[test]
    fn nothing_distilled_is_nothing_concluded() {
        let mut records = fixture::records(1);
        records.retain(|record| !matches!(record, Record::Final(_)));
        assert!(fixture::of(records).conclusions.is_empty());
    }
}
