//! Numbers as text.

use kd_core::record::{Setting, Settings};

use crate::document::Cell;
use crate::paired::Effect;
use crate::stats::Stat;

/// A fraction as percent with two decimals.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.2}", 100.0 * fraction)
}

/// A number with its sign; nothing that rounds to zero has one.
pub(crate) fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    match value {
        _ if text.bytes().all(|byte| matches!(byte, b'0' | b'.')) => text,
        value if value < 0.0 => format!("\u{2212}{text}"),
        _ => format!("+{text}"),
    }
}

/// `60,000`.
pub(crate) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 epoch`, `60,000 images`.
pub(crate) fn counted(n: usize, thing: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {thing}{s}", thousands(n))
}

/// `2 d 3 h`, `1 h 5 min`, `3 min 20 s` or `4.2 s`.
pub fn duration(seconds: f64) -> String {
    const DAY: u64 = 24 * 3600;
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..DAY => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / DAY, whole % DAY / 3600),
    }
}

/// `n steps 40, optimizer adam (beta1 0.9)`.
pub(crate) fn settings(settings: &Settings) -> String {
    let one = |(name, value): (&String, &Setting)| match value {
        Setting::None => None,
        value => Some(format!("{} {}", name.replace('_', " "), setting(value))),
    };
    settings.iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

/// A part by its kind, its other settings in parentheses.
pub(crate) fn setting(value: &Setting) -> String {
    match value {
        Setting::None => "none".into(),
        Setting::Flag(flag) => if *flag { "yes" } else { "no" }.into(),
        Setting::Count(n) => n.to_string(),
        Setting::Number(x) => number(*x),
        Setting::Text(text) => text.clone(),
        Setting::List(values) => values.iter().map(setting).collect::<Vec<_>>().join(" × "),
        Setting::Group(group) => {
            let (kind, rest) = group.iter().partition::<Vec<_>, _>(|(name, _)| *name == "kind");
            let rest = rest.into_iter().map(|(name, value)| (name.clone(), value.clone()));
            let rest = settings(&rest.collect());
            match kind.first() {
                None => rest,
                Some((_, kind)) if rest.is_empty() => setting(kind),
                Some((_, kind)) => format!("{} ({rest})", setting(kind)),
            }
        }
    }
}

/// Six digits: 0.1 as f32 is 0.10000000149.
fn number(x: f64) -> String {
    let x = format!("{x:.5e}").parse::<f64>().unwrap_or(x);
    if x != 0.0 && x.abs() < 1e-4 { format!("{x:e}") } else { x.to_string() }
}

/// Mean and spread of fractions, in percent.
pub(crate) fn percent_cell(stat: &Stat) -> Cell {
    number_cell(stat, 100.0, 2)
}

/// The same in a sentence.
pub(crate) fn percent_words(stat: &Stat) -> String {
    let std = stat.std.map_or(String::new(), |std| format!(" ± {}", percent(std)));
    percent(stat.mean) + &std
}

/// Mean and spread of counts: whole numbers for one seed.
pub(crate) fn count_cell(stat: &Stat) -> Cell {
    number_cell(stat, 1.0, usize::from(stat.n > 1))
}

/// Mean and spread, times `factor`.
pub(crate) fn number_cell(stat: &Stat, factor: f64, decimals: usize) -> Cell {
    let spread = match stat.std {
        Some(std) => format!("± {:.decimals$}", factor * std),
        None => "n = 1".into(),
    };
    Cell::Number { main: format!("{:.decimals$}", factor * stat.mean), spread }
}

/// An effect in points with its 95 % interval, its p-value and its verdict.
pub(crate) fn effect_cells(effect: Effect) -> [Cell; 3] {
    let Effect { paired, p_holm, told } = effect;
    let ends = [paired.mean - paired.half_width, paired.mean + paired.half_width];
    let [low, high] = ends.map(|end| signed(100.0 * end, 2));
    let main = signed(100.0 * paired.mean, 2);
    let points = Cell::Number { main, spread: format!("{low} to {high}") };
    let p = if p_holm < 0.001 { "< 0.001".into() } else { format!("{p_holm:.3}") };
    [points, Cell::number(p), Cell::Told(told)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_text() {
        assert_eq!([counted(1, "epoch"), counted(0, "seed")], ["1 epoch", "0 seeds"]);
        assert_eq!(percent(0.98075), "98.08");
        assert_eq!([number(1e-8), number(f64::from(0.1_f32))], ["1e-8", "0.1"]);
        assert_eq!([signed(0.5, 2), signed(-0.5, 2)], ["+0.50", "\u{2212}0.50"]);
        assert_eq!([signed(-0.001, 2), signed(0.0, 0)], ["0.00", "0"]);
        assert_eq!(
            [thousands(10), thousands(60_000), thousands(2_395_210)],
            ["10", "60,000", "2,395,210"]
        );
        assert_eq!(
            [duration(4.25), duration(200.0), duration(3900.0), duration(270_000.0)],
            ["4.2 s", "3 min 20 s", "1 h 5 min", "3 d 3 h"]
        );
    }

    #[test]
    fn one_seed_has_no_spread() {
        let cell = |values: &[f64]| count_cell(&Stat::of(values.to_vec()).unwrap());
        assert_eq!(cell(&[92.0]), Cell::Number { main: "92".into(), spread: "n = 1".into() });
        let two = Cell::Number { main: "93.0".into(), spread: "± 1.4".into() };
        assert_eq!(cell(&[92.0, 94.0]), two);
    }
}
