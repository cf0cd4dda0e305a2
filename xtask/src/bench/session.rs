//! What a session measured, as JSON: what `bench --json` prints and `xtask/results` keeps.

use std::fs;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure, Result};

/// Measurements of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Such as `2 cores of an AMD EPYC 7R13`.
    pub(crate) machine: String,
    /// `AVX-512`, `AVX2` or another width of its vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) width: Option<String>,
    /// Name and version of what kd is measured against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    /// Rounds of each case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rounds: Option<u32>,
    pub(crate) cases: Vec<Measured>,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Its name in `bench`.
    pub(crate) case: String,
    /// Milliseconds.
    pub(crate) time: Option<Compared>,
    /// The most memory, units of 2^20 bytes.
    pub(crate) memory: Option<Compared>,
    /// Images a second, where kd is measured alone.
    pub(crate) rate: Option<f64>,
}

/// A number of kd and of its peer: medians over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Compared {
    pub(crate) kd: Option<f64>,
    pub(crate) peer: Option<f64>,
    /// The median of the rounds' ratios, kd's to the peer's.
    pub(crate) ratio: Option<f64>,
    /// The least and the largest of these ratios.
    pub(crate) range: Option<[f64; 2]>,
}

impl Session {
    /// Of this machine, with no case yet.
    pub(super) fn here(peer: Option<String>, rounds: u32) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let named =
            |line: &str| line.strip_prefix("model name")?.split_once(": ").map(|n| n.1.into());
        let name: String = cpu.lines().find_map(named).unwrap_or(std::env::consts::ARCH.into());
        let has = |flag: &str| cpu.split_whitespace().any(|word| word == flag);
        let widths = [("avx512f", "AVX-512"), ("avx2", "AVX2")];
        let width = widths.into_iter().find(|(flag, _)| has(flag)).map(|(_, name)| name.into());
        let machine = format!("{cores} cores of {name}");
        Self { machine, width, peer, rounds: Some(rounds), cases: Vec::new() }
    }

    pub(super) fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|e| Failure::new(Code::Internal, e))
    }
}

impl Compared {
    /// Of what kd and its peer measured in each round; `None` for no rounds.
    pub(super) fn of(rounds: &[(f64, Option<f64>)]) -> Option<Self> {
        let ratios = sorted(rounds.iter().filter_map(|(kd, peer)| Some(kd / (*peer)?)));
        Some(Self {
            kd: Some(median(&sorted(rounds.iter().map(|(kd, _)| *kd)))?),
            peer: median(&sorted(rounds.iter().filter_map(|(_, peer)| *peer))),
            ratio: median(&ratios),
            range: ratios.first().zip(ratios.last()).map(|(low, high)| [*low, *high]),
        })
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    (n > 0).then(|| (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_this_machine_is_read_as_it_was_written() {
        let mut session = Session::here(Some("PyTorch 2".into()), 3);
        let time = Compared::of(&[(1.0, Some(2.0)), (3.0, Some(4.0)), (2.0, Some(20.0))]);
        let range = Some([0.1, 0.75]);
        let want = Compared { kd: Some(2.0), peer: Some(4.0), ratio: Some(0.5), range };
        assert_eq!(time, Some(want));
        session.cases.push(Measured { case: "a".into(), time, memory: None, rate: None });
        assert_eq!(serde_json::from_str::<Session>(&session.json().unwrap()).unwrap(), session);
        assert!(Compared::of(&[]).is_none());
    }
}
