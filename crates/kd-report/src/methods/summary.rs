//! What the comparison of a training's methods says, in words.

use super::{Method, Methods};
use crate::format::{counted, percent_words, signed};
use crate::paired::{Effect, Told};

/// Whether any method beats tuned distillation at equal compute, by how much, and how sure that is.
pub(super) fn of(methods: &Methods) -> String {
    let Some(kd) = methods.methods.iter().find(|one| Some(&one.name) == methods.kd.as_ref()) else {
        return format!(
            "`{}` has no student of labels and soft targets (`distill`), which is what a method has to \
             beat.",
            methods.training
        );
    };
    let others: Vec<(&Method, Effect)> = rivals(methods).collect();
    let (equal, dearer): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|(method, _)| method.is_equal_in_cost());
    let beating = equal.iter().filter(|(_, effect)| effect.told == Told::Better);
    let beating: Vec<String> = beating.map(|(method, _)| format!("`{}`", method.name)).collect();
    let labels = methods.methods.iter().find(|one| one.name == methods.labels);
    let labels =
        labels.map_or(String::new(), |one| format!("; labels alone {}", percent_words(&one.top1)));
    let (name, top1) = (&kd.name, percent_words(&kd.top1));
    let tuned = format!("tuned distillation (`{name}`, {top1} percent{labels})");
    let of = counted(equal.len(), "method");
    let best = equal.iter().max_by(|a, b| a.1.paired.mean.total_cmp(&b.1.paired.mean));
    let told = match (best, beating.len()) {
        (None, _) => format!("No other method costs as much as {tuned}."),
        (Some(best), 0) => format!(
            "Of {of}, none is shown to beat {tuned} at equal compute here; the largest difference is {}.",
            words(best)
        ),
        (Some(best), n) => format!(
            "Of {of}, {n} ({}) {} {tuned} at equal compute here; the largest difference is {}.",
            beating.join(", "),
            if n == 1 { "beats" } else { "beat" },
            words(best)
        ),
    };
    let seeds = counted(kd.top1.n, "seed");
    let least = match methods.least_told {
        None => String::new(),
        Some(least) if least < 1.0 => format!(
            " With {seeds}, a difference of {:.2} points is the least that would certainly have been told.",
            100.0 * least
        ),
        Some(_) => format!(" With {seeds}, no difference at all would certainly have been told."),
    };
    told + &least + &at_other_cost(&dearer)
}

/// All methods but distillation itself, with what they gain over it.
fn rivals(methods: &Methods) -> impl Iterator<Item = (&Method, Effect)> {
    methods.methods.iter().filter(|one| one.is_rival()).filter_map(|one| Some((one, one.over_kd?)))
}

fn words((method, effect): &(&Method, Effect)) -> String {
    let paired = effect.paired;
    format!(
        "that of `{}`: {} points, 95 % interval {} to {}, p {} after Holm's correction",
        method.name,
        signed(100.0 * paired.mean, 2),
        signed(100.0 * (paired.mean - paired.half_width), 2),
        signed(100.0 * (paired.mean + paired.half_width), 2),
        match effect.p_holm {
            p if p < 0.001 => "< 0.001".into(),
            p => format!("= {p:.3}"),
        }
    )
}

fn at_other_cost(dearer: &[(&Method, Effect)]) -> String {
    if dearer.is_empty() {
        return String::new();
    }
    let one = |(method, effect): &(&Method, Effect)| {
        let cost = method.cost.unwrap_or(1.0);
        let gain = signed(100.0 * effect.paired.mean, 2);
        format!("`{}` ({cost:.2} times as many, {gain} points)", method.name)
    };
    let all: Vec<String> = dearer.iter().map(one).collect();
    format!(" At other numbers of images through the student: {}.", all.join(", "))
}
