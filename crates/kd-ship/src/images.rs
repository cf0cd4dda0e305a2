//! The photographs: to learn from, to choose by, to judge by.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};

use kd_core::{Error, Result};
use kd_data::divide::Divide;
use kd_data::imagenet::{Mode, Watch};
use kd_data::{DataSpec, Part, Parts, PhotoFolder};
use kd_suite::Holdout;

use crate::Order;
use crate::folder::Folder;

/// Share of the training images that choices are made by.
pub(crate) const HELD_OUT: f64 = 0.2;
/// Share of all images that the result is judged by, where the folder has no such part.
const JUDGED: f64 = 0.2;
/// Fewer images say nothing.
const FEWEST: usize = 10;

/// The photographs of an order.
#[derive(Debug)]
pub(crate) struct Images {
    /// As suites name them.
    pub(crate) data: DataSpec,
    /// To learn from.
    pub(crate) train: Part,
    /// To choose by.
    pub(crate) held_out: Part,
    /// To judge by.
    pub(crate) judged: Part,
    /// Pixels of the shorter side before the central square is cut out.
    pub(crate) resize: usize,
    /// Where they are, in words.
    pub(crate) words: String,
}

/// The folder with `train` and `val`: the order's, or one that is made of its class folders, by hard
/// links where the file system allows it. Nothing when it was interrupted.
pub(crate) fn place(order: &Order, folder: &Folder, stop: &AtomicBool) -> Result<Option<PathBuf>> {
    let images = std::path::absolute(&order.images).map_err(Error::io(&order.images, "find"))?;
    let spec = DataSpec::Photos(PhotoFolder { path: images.clone(), ..PhotoFolder::default() });
    if spec.as_dyn().whole(None)?.is_none() {
        return Ok(Some(images));
    }
    let out = folder.work("images");
    let divide = |mode| Divide {
        images: images.clone(),
        out: out.clone(),
        val: JUDGED,
        test: None,
        seed: 0,
        mode,
    };
    let linked = Watch::until(stop, &AtomicU64::new(0), |watch| {
        match divide(Mode::Hardlink).run(watch) {
            // Another file system, or one without hard links.
            Err(Error::Folder { .. } | Error::Io { .. }) => divide(Mode::Symlink).run(watch),
            linked => linked,
        }
    });
    let Some(divided) = linked? else { return Ok(None) };
    divided.notes().iter().for_each(|line| eprintln!("{line}"));
    std::path::absolute(&out).map(Some).map_err(Error::io(&out, "find"))
}

impl Images {
    /// Those in `place`, as a network for `[C, H, W]` sees them.
    ///
    /// # Errors
    /// [`Error::Config`] for a single class, and for too few images.
    pub(crate) fn open(
        order: &Order,
        place: PathBuf,
        [channels, crop, _]: [usize; 3],
    ) -> Result<Self> {
        let words = order.images.display().to_string();
        let on_bad_image = order.on_bad_image;
        let photos = PhotoFolder { path: place, channels, on_bad_image, ..PhotoFolder::default() };
        let photos = photos.with_sizes(None, Some(crop));
        let (resize, data) = (photos.resize, DataSpec::Photos(photos));
        let Parts { train, test: judged, .. } = data.as_dyn().parts(None)?;
        if train.n_classes() < 2 {
            let reason = format!("{words} holds one class; there is nothing to tell apart");
            return Err(Error::config("images", reason));
        }
        let (train, held_out) = Holdout::Share(HELD_OUT).of_training(&train)?;
        for (part, what) in [(&held_out, "choose by"), (&judged, "judge by")] {
            if part.len() < FEWEST {
                let reason = format!(
                    "{} images of {words} are there to {what}; {FEWEST} are the fewest that say anything",
                    part.len()
                );
                return Err(Error::config("images", reason));
            }
        }
        Ok(Self { data, train, held_out, judged, resize, words })
    }
}
