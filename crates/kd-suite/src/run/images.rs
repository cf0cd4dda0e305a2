//! The image sets of a run.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use kd_core::record::DataFile;
use kd_core::{BatchSource, Error, Result, Stream};
use kd_data::{Images, Part, Parts};
use kd_train::EvalSet;

use crate::remarks;
use crate::suite::{EvaluationSection, Spec, TrainingSpec};

/// What a data set gave.
struct Loaded {
    files: Vec<DataFile>,
    train: Part,
    test: Part,
    /// Whether the test images were not taken from the training images.
    has_parts: bool,
}

impl Loaded {
    fn of(spec: &Spec, data_dir: Option<&Path>, stream: Stream) -> Result<Self> {
        let (data, holdout) = (spec.data.as_dyn(), spec.holdout);
        let whole = if holdout.is_none() { None } else { data.whole(data_dir)? };
        let Some(whole) = whole else {
            let Parts { train, test, .. } = data.parts(data_dir)?;
            remarks::tell(&[train.remarks(), test.remarks()]);
            let files = [train.files(), test.files()].concat();
            return Ok(Self { files, train, test, has_parts: true });
        };
        remarks::tell(&[whole.remarks()]);
        let (train, test) = holdout.split_classes(&whole, stream.at("holdout"))?;
        eprintln!("{} of {} images are held out to test on", test.len(), whole.len());
        Ok(Self { files: whole.files(), train, test, has_parts: false })
    }
}

/// The images of a run: to train on, to choose by, to judge by.
pub(crate) struct Sets {
    train: Part,
    files: Vec<DataFile>,
    device: Device,
    test_part: Part,
    pub(crate) test: EvalSet,
    pub(crate) holdout: Option<EvalSet>,
}

impl Sets {
    /// Loads the data set of `spec`. What is set aside and what is left out does not depend on the
    /// seed, so that all repetitions are judged alike. Of a data set without parts, what is set aside
    /// is the test set. Batches are made on `device`.
    pub(crate) fn load(spec: &Spec, data_dir: Option<&Path>, device: &Device) -> Result<Self> {
        let stream = Stream::new(0);
        let Loaded { files, mut train, mut test, has_parts } = Loaded::of(spec, data_dir, stream)?;
        if let Some(n) = spec.n_train {
            train = train.subset(n.min(train.len()), stream.at("subset/train"))?;
        }
        if let Some(n) = spec.n_test {
            test = test.subset(n.min(test.len()), stream.at("subset/test"))?;
        }
        let mut holdout = None;
        if has_parts && !spec.holdout.is_none() {
            let parts = spec.holdout.of_training(&train)?;
            train = parts.0;
            holdout = Some(EvalSet::new(parts.1.in_order(device)?)?);
        }
        let test_set = EvalSet::new(test.in_order(device)?)?;
        let device = device.clone();
        Ok(Self { train, files, device, test_part: test, test: test_set, holdout })
    }

    /// The files that the images come from.
    pub(crate) fn files(&self) -> Vec<DataFile> {
        self.files.clone()
    }

    /// The images of an evaluation.
    ///
    /// # Errors
    /// [`Error::Config`] for images or classes that the run's networks are not for.
    pub(crate) fn other(
        &self,
        section: &EvaluationSection,
        data_dir: Option<&Path>,
    ) -> Result<Part> {
        let part = section.data.as_dyn().part(data_dir, section.split)?;
        let (got, want) = ((part.shape(), part.n_classes()), self.shape());
        if got == want {
            return Ok(part);
        }
        let reason = format!(
            "`{}` has images of {:?} and {} classes, the run's networks are for {:?} and {}",
            section.name, got.0, got.1, want.0, want.1
        );
        Err(Error::config("evaluation.data", reason))
    }

    /// `[C, H, W]` and the number of classes.
    pub(crate) fn shape(&self) -> ([usize; 3], usize) {
        (self.train.shape(), self.train.n_classes())
    }

    /// Names of the classes, by label; none where they are not known.
    pub(crate) fn class_names(&self) -> &[String] {
        self.train.class_names()
    }

    /// The label of the class that a training does without.
    pub(crate) fn omitted(&self, spec: &TrainingSpec) -> Result<Option<u32>> {
        spec.omit_class.as_ref().map(|class| class.label(self.class_names())).transpose()
    }

    /// The training images of one training and seed.
    pub(crate) fn train(&self, spec: &TrainingSpec, seed: u64) -> Result<Arc<dyn BatchSource>> {
        let part = match self.omitted(spec)? {
            Some(class) => self.train.omit_class(class)?,
            None => self.train.clone(),
        };
        part.training(&spec.augment, Stream::new(seed).at("data"), &self.device)
    }

    /// The test images as bytes, for attacks.
    ///
    /// # Errors
    /// [`Error::Config`] for photographs in files.
    pub(crate) fn test_images(&self) -> Result<&Images> {
        self.test_part.images()
    }

    /// All training images, of every class, as they are.
    pub(crate) fn train_in_order(&self) -> Result<Arc<dyn BatchSource>> {
        self.train.in_order(&self.device)
    }

    /// Names of the photographs that were skipped or repaired so far, with the reasons.
    pub(crate) fn bad_images(&self) -> Vec<(String, String)> {
        [self.train.bad_images(), self.test_part.bad_images()].concat()
    }

    /// Whether the images were encoded anew, so that they are not those of the data set's files.
    pub(crate) fn are_reencoded(&self) -> bool {
        let is_packed = |part: &Part| matches!(part, Part::Photos(photos) if photos.is_packed());
        is_packed(&self.train) || is_packed(&self.test_part)
    }
}
