//! One attack on one model, in parts, with the images so far kept on disk.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kd_adv::{AttackSpec, Outcome, Victim, attack, observe, summarize, transfer};
use kd_core::record::{AttackRecord, TransferRecord};
use kd_core::{Classifier, Error, Result, fsx};
use serde::{Deserialize, Serialize};

use super::bench::{Bench, parse};
use crate::run::progress::Progress;
use crate::suite::{AttackSection, Source};

/// Images of one part for each thread: the rows of one forward pass.
const PART: usize = 50;
/// Least time between two writes of the state.
const SAVE_EVERY: Duration = Duration::from_secs(10);
/// Largest state that is read.
const LIMIT: u64 = 1 << 28;

/// What is known of the first images.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// Which attack on which model.
    job: String,
    /// The outcomes on the attacked model.
    own: Vec<Outcome>,
    /// Those on the models that are shown the same images, in the section's order.
    others: Vec<Vec<Outcome>>,
    /// Wall time so far.
    seconds: f64,
}

impl Bench<'_> {
    /// Attacks `source`, or goes on with it; nothing when it was interrupted.
    pub(super) fn attack(
        &self,
        section: &AttackSection,
        source: &Source,
        spec: &AttackSpec,
    ) -> Result<Option<AttackRecord>> {
        let is_main = *spec == section.attack;
        let others = section.transfer_to.iter().filter(|other| is_main && *other != source);
        let others: Vec<&Source> = others.collect();
        let networks: Vec<_> =
            others.iter().map(|other| self.network(other)).collect::<Result<_>>()?;
        let victims: Vec<_> =
            networks.iter().map(|network| self.context.victim(network)).collect::<Result<_>>()?;
        let network = self.network(source)?;
        let mut state = self.state(&self.title(section, source, spec), victims.len())?;
        if !self.fill(section, spec, (&network, &victims), &mut state)? {
            self.save_state(&state)?;
            return Ok(None);
        }
        if is_main {
            let path = self.outcomes_path(&section.name, source);
            fsx::create_folder(&self.context.folder.path().join("outcomes"))?;
            fsx::write_atomic(&path, &encode(&state.own)?)?;
        }
        let record = AttackRecord {
            seed: self.seed,
            id: source.into(),
            attack: section.name.clone(),
            transfer: self.transfers(&others, &state),
            seconds: state.seconds,
            ..summarize(spec, &state.own)
        };
        eprintln!("{}: {}", state.job, summary(&record));
        Ok(Some(record))
    }

    fn title(&self, section: &AttackSection, source: &Source, spec: &AttackSpec) -> String {
        let radius = spec.as_dyn().eps().map_or(String::new(), |eps| format!(" eps {eps}"));
        let seed = match self.context.spec.seeds {
            1 => String::new(),
            _ => format!(" (seed {})", self.seed),
        };
        format!("{}{radius} on {source}{seed}", section.name)
    }

    /// Attacks the images that are left, part by part; false when it was interrupted.
    fn fill(
        &self,
        section: &AttackSection,
        spec: &AttackSpec,
        (network, others): (&dyn Classifier, &[Victim<'_>]),
        state: &mut State,
    ) -> Result<bool> {
        let victim = self.context.victim(network)?;
        let examples = self.examples(&section.images)?;
        let (norm, stream) = (spec.as_dyn().norm(), self.stream(&section.name));
        let (done, total) = (state.own.len() as u64, examples.len() as u64);
        let progress = Progress::start(state.job.clone(), done, total);
        let mut saved = Instant::now();
        while state.own.len() < examples.len() {
            if self.is_stopped() {
                return Ok(false);
            }
            let started = Instant::now();
            let first = state.own.len();
            let last = examples.len().min(first + PART * rayon::current_num_threads());
            let part = examples.select(&(first..last).collect::<Vec<_>>());
            let attacked = attack(spec, &victim, &part, stream)?;
            state.own.extend(observe(&victim, norm, &part, &attacked.pixels)?);
            for (other, outcomes) in others.iter().zip(&mut state.others) {
                outcomes.extend(observe(other, norm, &part, &attacked.pixels)?);
            }
            state.seconds += started.elapsed().as_secs_f64();
            progress.counters.steps.store(last as u64, Ordering::Relaxed);
            if saved.elapsed() >= SAVE_EVERY {
                self.save_state(state)?;
                saved = Instant::now();
            }
        }
        Ok(true)
    }

    fn transfers(&self, others: &[&Source], state: &State) -> Vec<TransferRecord> {
        let record = |(other, outcomes): (&&Source, &Vec<Outcome>)| TransferRecord {
            id: (*other).into(),
            ..transfer(&state.own, outcomes)
        };
        others.iter().zip(&state.others).map(record).collect()
    }

    /// The state of `job` that an interrupted process left, or a new one.
    fn state(&self, job: &str, n_others: usize) -> Result<State> {
        let path = self.state_path();
        let found = match fsx::read_bounded(&path, LIMIT, "") {
            Err(Error::Missing { .. }) => None,
            bytes => Some(parse::<State>(&path, &bytes?)?),
        };
        let new =
            || State { job: job.into(), others: vec![Vec::new(); n_others], ..State::default() };
        Ok(found.filter(|state| state.job == job).unwrap_or_else(new))
    }

    fn save_state(&self, state: &State) -> Result<()> {
        fsx::write_atomic(&self.state_path(), &encode(state)?)
    }

    /// Removes the state of a job that is done.
    pub(super) fn forget_state(&self) -> Result<()> {
        let path = self.state_path();
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, "remove")(e)),
            _ => Ok(()),
        }
    }

    fn state_path(&self) -> PathBuf {
        self.context.folder.path().join("attack-state.json")
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::config("outcomes", e.to_string()))
}

fn summary(record: &AttackRecord) -> String {
    let own = format!("{} of {} right, {} after", record.correct, record.total, record.robust);
    let distance =
        record.mean_distance.map_or(String::new(), |d| format!(", mean distance {d:.3}"));
    own + &distance
}
