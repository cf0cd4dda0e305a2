//! What an attack keeps while it goes on, for the same call to go on from there.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kd_adv::Outcome;
use kd_core::{Error, Result, fsx};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::store::{GROUP, Store};

/// Images of one part for each thread: the rows of one forward pass.
const PART: usize = 50;
/// Least time between two writes of the state.
const SAVE_EVERY: Duration = Duration::from_secs(10);
/// Largest state that is read.
const LIMIT: u64 = 1 << 28;

/// What is known of the first images.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The outcomes on the attacked network.
    pub(crate) own: Vec<Outcome>,
    /// Those on the networks that are shown the same images, in their order.
    pub(crate) others: Vec<Vec<Outcome>>,
    /// Wall time.
    pub(crate) seconds: f64,
    /// The adversarial images, one row each, where they are wanted.
    #[serde(skip)]
    pub(crate) pixels: Vec<f32>,
}

impl Done {
    /// Nothing yet.
    pub(crate) fn nothing(n_others: usize) -> Self {
        Self { others: vec![Vec::new(); n_others], ..Self::default() }
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.own.len()
    }

    /// Adds the images of `part` behind these.
    pub(crate) fn append(&mut self, part: Self) {
        self.own.extend(part.own);
        self.others.iter_mut().zip(part.others).for_each(|(all, new)| all.extend(new));
        self.seconds += part.seconds;
        self.pixels.extend(part.pixels);
    }

    /// The images `rows` alone, which took `seconds`.
    pub(crate) fn slice(&self, rows: Range<usize>, seconds: f64) -> Self {
        let n_pixels = self.pixels.len() / self.len().max(1);
        Self {
            own: self.own[rows.clone()].to_vec(),
            others: self.others.iter().map(|other| other[rows.clone()].to_vec()).collect(),
            seconds,
            pixels: self.pixels[rows.start * n_pixels..rows.end * n_pixels].to_vec(),
        }
    }
}

/// Where an attack keeps what is done.
pub(crate) enum Keep<'a> {
    /// Nowhere.
    Nothing,
    /// In one file, without the images.
    State(State),
    /// In a folder for each group of images.
    Groups(Groups<'a>),
}

impl<'a> Keep<'a> {
    /// The groups of the attack `name` in `store`, where there is one.
    pub(crate) fn in_store(store: Option<&'a Store>, name: &'a str) -> Self {
        store.map_or(Self::Nothing, |store| {
            Self::Groups(Groups { store, name, n_kept: 0, seconds: 0.0 })
        })
    }

    /// Whether the images are kept, too.
    pub(super) fn has_images(&self) -> bool {
        matches!(self, Self::Groups(_))
    }

    /// Images that are attacked together: as many as the threads are busy with, in whole groups.
    pub(super) fn part_size(&self) -> usize {
        let n = PART * rayon::current_num_threads();
        if self.has_images() { n.next_multiple_of(GROUP) } else { n }
    }

    /// What is done.
    pub(super) fn take_up(&mut self, n_others: usize) -> Result<Done> {
        match self {
            Self::Nothing => Ok(Done::nothing(n_others)),
            Self::State(state) => state.read(n_others),
            Self::Groups(groups) => groups.read(n_others),
        }
    }

    /// Keeps `done`, if that is worth the time.
    pub(super) fn save_in_time(&mut self, done: &Done) -> Result<()> {
        match self {
            Self::State(state) if state.saved.elapsed() < SAVE_EVERY => Ok(()),
            _ => self.save(done),
        }
    }

    /// Keeps `done`.
    pub(super) fn save(&mut self, done: &Done) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::State(state) => state.write(done),
            Self::Groups(groups) => groups.write(done),
        }
    }
}

/// One file for the attack at hand, whichever that is.
pub(crate) struct State {
    path: PathBuf,
    job: String,
    saved: Instant,
}

/// What is in it.
#[derive(Debug, Serialize, Deserialize)]
struct Content<D> {
    /// Which attack on which model.
    job: String,
    #[serde(flatten)]
    done: D,
}

impl State {
    /// The state of `job` in the file `path`.
    pub(crate) fn new(path: PathBuf, job: &str) -> Self {
        Self { path, job: job.into(), saved: Instant::now() }
    }

    /// Nothing, where the file is that of another job.
    fn read(&self, n_others: usize) -> Result<Done> {
        let found = match fsx::read_bounded(&self.path, LIMIT, "") {
            Err(Error::Missing { .. }) => None,
            bytes => Some(parse::<Content<Done>>(&self.path, &bytes?)?),
        };
        let found = found.filter(|content| content.job == self.job);
        Ok(found.map_or_else(|| Done::nothing(n_others), |content| content.done))
    }

    fn write(&mut self, done: &Done) -> Result<()> {
        let content = Content { job: self.job.clone(), done };
        fsx::write_atomic(&self.path, &encode(&content)?)?;
        self.saved = Instant::now();
        Ok(())
    }
}

/// The groups of one attack.
pub(crate) struct Groups<'a> {
    store: &'a Store,
    name: &'a str,
    n_kept: usize,
    seconds: f64,
}

impl Groups<'_> {
    fn read(&mut self, n_others: usize) -> Result<Done> {
        let mut done = Done::nothing(n_others);
        while let Some(group) = self.store.group(self.name, self.n_kept)? {
            done.append(group);
            self.n_kept += 1;
        }
        self.seconds = done.seconds;
        Ok(done)
    }

    /// Writes the groups that are new; they share the time that they took together.
    fn write(&mut self, done: &Done) -> Result<()> {
        let n_groups = done.len().div_ceil(GROUP);
        let seconds = (done.seconds - self.seconds) / (n_groups - self.n_kept).max(1) as f64;
        for group in self.n_kept..n_groups {
            let rows = group * GROUP..done.len().min((group + 1) * GROUP);
            self.store.keep(self.name, group, &done.slice(rows, seconds))?;
        }
        (self.n_kept, self.seconds) = (n_groups, done.seconds);
        Ok(())
    }
}

/// The bytes of a file of outcomes.
pub(crate) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::config("outcomes", e.to_string()))
}

/// Reads a file of outcomes.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::Parse {
        path: path.into(),
        offset: 0,
        reason: format!("not the outcomes of an attack: {e}"),
    })
}
