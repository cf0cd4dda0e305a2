//! Speed beside others, from sessions of `cargo xtask bench --peer --json`.

use crate::bench::{self, Compared, Measured, Session};

use super::chart::{Chart, Mark, Row};

/// Names of the result files, in the order of the picture.
pub(super) const SESSIONS: [&str; 3] = ["speed-avx512", "speed-avx2", "speed-photos"];

/// Where and against what, and a table of ratios.
pub(super) fn table(session: &Session) -> String {
    let has_memory = session.cases.iter().any(|case| ratio(case.memory.as_ref()).is_some());
    let mut text = format!("On {}:\n\n", place(session));
    text += match has_memory {
        true => "| work | kd's time / the other's | kd's memory / the other's |\n|---|---|---|\n",
        false => "| work | kd's time / the other's |\n|---|---|\n",
    };
    for case in &session.cases {
        let Some(time) = ratio(case.time.as_ref()) else { continue };
        let memory = ratio(case.memory.as_ref()).unwrap_or_default();
        let memory = if has_memory { format!(" {memory} |") } else { String::new() };
        text += &format!("| {} | {time} |{memory}\n", work(case));
    }
    text
}

/// Bars of kd's time, the other's being 1.
pub(super) fn picture(sessions: &[Session]) -> String {
    let row = |case: &Measured| {
        let name = bench::work_beside_a_peer(&case.case)?.into();
        let [low, high] = ends(case.time.as_ref()?)?;
        Some(Row { name, mark: Mark::Bar { low, high }, value: ratio(case.time.as_ref())? })
    };
    let rows = |session: &Session| session.cases.iter().filter_map(row).collect();
    let groups = sessions.iter().map(|session| (place(session), rows(session))).collect();
    let title = "kd's time, the other's being 1 (less is faster)".to_owned();
    Chart { title, groups, left: 415.0, ends: (0.0, 2.0), line: Some(1.0) }.svg()
}

/// Machine, width, rounds and peer.
fn place(session: &Session) -> String {
    let width = session.width.as_ref().map(|width| format!(", {width}")).unwrap_or_default();
    let rounds = session.rounds.map(|n| format!(", {n} rounds")).unwrap_or_default();
    let peer = session.peer.as_ref().map(|peer| format!(", beside {peer}")).unwrap_or_default();
    format!("{}{width}{peer}{rounds}", session.machine)
}

fn work(case: &Measured) -> &str {
    bench::work(&case.case).unwrap_or(&case.case)
}

/// The median of the ratios; where it was not kept, their range.
fn ratio(compared: Option<&Compared>) -> Option<String> {
    let compared = compared?;
    let range = compared.range.map(|[low, high]| format!("{low:.2} to {high:.2}"));
    compared.ratio.map(|ratio| format!("{ratio:.2}")).or(range)
}

fn ends(compared: &Compared) -> Option<[f64; 2]> {
    compared.ratio.map(|ratio| [ratio; 2]).or(compared.range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_stand_in_the_table_and_ranges_where_none_was_kept() {
        let session: Session = serde_json::from_str(
            r#"{"machine": "two cores", "width": "AVX2", "peer": "PyTorch", "rounds": 2, "cases": [
                {"case": "teacher-step", "time": {"kd": 1.0, "peer": 2.0, "ratio": 0.5,
                 "range": [0.4, 0.6]}, "memory": null, "rate": null},
                {"case": "resnet56-eval", "time": {"range": [0.58, 0.72]}},
                {"case": "photos-threads", "time": {"ratio": 0.51}}]}"#,
        )
        .unwrap();
        let text = table(&session);
        assert!(text.starts_with("On two cores, AVX2, beside PyTorch, 2 rounds:\n\n| work |"));
        assert!(text.contains("| training step of the 1200-unit teacher | 0.50 |\n"), "{text}");
        assert!(text.contains("| evaluation of ResNet-56 | 0.58 to 0.72 |\n"), "{text}");
        let picture = picture(&[session]);
        assert!(picture.contains("0.58 to 0.72") && !picture.contains("one (kd alone)"));
    }
}
