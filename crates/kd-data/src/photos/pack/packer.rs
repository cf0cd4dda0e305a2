//! Packs photographs.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use kd_core::{Error, Result, fsx};
use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};
use rayon::prelude::*;

use super::index::{INDEX, Index, Plan};
use super::work::Work;
use super::{PackSettings, PackSummary, Packed};
use crate::Photos;
use crate::photos::resize::{shorter_side, whole};

/// Photographs that one step encodes.
const GROUP: usize = 256;

/// Packs photographs step by step; dropped before the end, the same call goes on where it was.
#[derive(Debug)]
pub struct Packer {
    photos: Photos,
    plan: Plan,
    out: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(Work),
    Done(Packed),
}

impl Packer {
    /// Begins to pack `photos` as the folder `out`, or goes on with it, or finds it done.
    ///
    /// The folder is built beside its place, as `NAME.partial`, and appears whole. Photographs
    /// that cannot be decoded are refused, or left out and listed, as the policy of `photos` says.
    ///
    /// # Errors
    /// [`Error::Parse`] for a class without photographs; [`Error::Config`] for impossible settings, and
    /// when `out` is something else, or the unfinished folder is that of other photographs or settings; [`Error::Busy`] when another
    /// process packs there; [`Error::Io`].
    pub fn new(photos: Photos, out: &Path, settings: PackSettings) -> Result<Self> {
        settings.check()?;
        photos.require_pictures()?;
        let source = photos.files().into_iter().next().unwrap_or_default();
        let plan = Plan { settings, on_bad_image: photos.on_bad_image, source };
        // Without a slash at its end, behind which `.partial` would be a name of its own.
        let out: PathBuf = out.components().collect();
        let state = match out.symlink_metadata().is_ok() {
            true => State::Done(made(&out, &plan)?),
            false => begin(&out, &plan)?,
        };
        Ok(Self { photos, plan, out, state })
    }

    /// Number of photographs that are packed, or left out.
    pub fn n_done(&self) -> usize {
        match &self.state {
            State::Open(work) => work.n_done,
            State::Done(_) => self.photos.len(),
        }
    }

    /// Number of photographs there are.
    pub fn n_images(&self) -> usize {
        self.photos.len()
    }

    /// Packs some more photographs, on all threads; false when none was left.
    ///
    /// # Errors
    /// [`Error::Parse`] for a photograph that cannot be decoded, unless the policy passes over
    /// it; [`Error::Io`].
    pub fn step(&mut self) -> Result<bool> {
        let State::Open(work) = &mut self.state else { return Ok(false) };
        let group = work.n_done..self.photos.len().min(work.n_done + GROUP);
        if group.is_empty() {
            return Ok(false);
        }
        let encode = |i| encode(&self.photos, i, &self.plan.settings);
        let images: Vec<_> = group.clone().into_par_iter().with_max_len(1).map(encode).collect();
        let limit = self.plan.settings.shard_mib << 20;
        for (i, image) in group.zip(images) {
            work.add(&self.photos, i, image?, limit)?;
        }
        Ok(true)
    }

    /// Packs the rest, and lets the folder appear; `n_done` counts photographs. Nothing when `stop` was set.
    ///
    /// # Errors
    /// As [`Packer::finish`].
    pub fn run(mut self, stop: &AtomicBool, n_done: &AtomicU64) -> Result<Option<PackSummary>> {
        let (started, first, total) = (Instant::now(), self.n_done(), self.n_images());
        while self.step()? {
            n_done.store(self.n_done() as u64, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
        }
        let (packed, seconds) = (total - first, started.elapsed().as_secs_f64());
        Ok(Some(PackSummary { packed, seconds, ..self.finish()?.summary() }))
    }

    /// Packs the rest, and lets the folder appear.
    ///
    /// # Errors
    /// As [`Packer::step`]; [`Error::Config`] when every photograph was left out.
    pub fn finish(mut self) -> Result<Packed> {
        while self.step()? {}
        let work = match self.state {
            State::Done(packed) => return Ok(packed),
            State::Open(work) => work,
        };
        let (folder, lock, records) = work.close(&self.photos)?;
        if records.is_empty() {
            return Err(Error::config("images", "none could be decoded; nothing was packed"));
        }
        Index::new(self.plan, self.photos.classes().to_vec(), records).write(&folder)?;
        seal(&folder, lock, &self.out)
    }
}

/// The pack that is there already.
fn made(out: &Path, plan: &Plan) -> Result<Packed> {
    let packed = Packed::open(out).ok().filter(|packed| packed.plan() == plan);
    packed.ok_or_else(|| {
        let reason = format!(
            "{} exists and is no pack of these photographs and settings; remove it or choose \
             another",
            out.display()
        );
        Error::config("out", reason)
    })
}

/// Opens the unfinished folder, which may want nothing but its name.
fn begin(out: &Path, plan: &Plan) -> Result<State> {
    let mut name = out.as_os_str().to_owned();
    name.push(".partial");
    let folder = PathBuf::from(name);
    fsx::create_folder(&folder)?;
    let lock = fsx::Lock::take(&folder)?;
    if !folder.join(INDEX).exists() {
        return Work::resume(folder, lock, plan).map(State::Open);
    }
    made(&folder, plan)?;
    seal(&folder, lock, out).map(State::Done)
}

/// Removes what only the work needed, and gives the folder its name.
fn seal(folder: &Path, lock: fsx::Lock, out: &Path) -> Result<Packed> {
    Work::sweep(folder)?;
    lock.remove()?;
    std::fs::rename(folder, out).map_err(Error::io(out, "rename"))?;
    fsx::sync_folder(out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    Packed::open(out)
}

/// Photograph `i` as it is packed; none when it is left out.
fn encode(photos: &Photos, i: usize, settings: &PackSettings) -> Result<Option<Vec<u8>>> {
    let Some(mut rgb) = photos.decode(i)? else { return Ok(None) };
    if rgb.size[0].min(rgb.size[1]) > settings.side {
        rgb = whole(&rgb, shorter_side(rgb.size, settings.side))?;
    }
    let [height, width] = rgb.size;
    let encoded = Encoder::new(&rgb.pixels, width, height, PixelFormat::Rgb)
        .quality(settings.quality)
        .subsampling(Subsampling::S420)
        .encode();
    let refused = |error| Error::config(photos.name(i), format!("cannot be encoded: {error}"));
    encoded.map(Some).map_err(refused)
}
