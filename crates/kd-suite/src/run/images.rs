//! The image sets of a run.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use kd_core::record::DataFile;
use kd_core::{BatchSource, Error, Result, Stream};
use kd_data::{Augment, DataSpec, Images, Part, Parts, Split, list_digest};
use kd_train::EvalSet;

use crate::remarks;
use crate::suite::{Class, EvaluationSection, Holdout, Spec, TrainingSpec};

/// Which of a data set's images a run takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    pub(crate) data: &'a DataSpec,
    pub(crate) holdout: Holdout,
    /// Number of training images and of test images.
    pub(crate) n: [Option<usize>; 2],
}

/// The images that a run takes, still in their files.
pub(crate) struct Chosen {
    files: Vec<DataFile>,
    pub(crate) train: Part,
    test: Part,
    holdout: Option<Part>,
}

impl Choice<'_> {
    /// What is set aside and what is left out does not depend on the seed, so that all repetitions are
    /// judged alike. Of a data set without parts, what is set aside is the test set.
    pub(crate) fn load(self, data_dir: Option<&Path>) -> Result<Chosen> {
        let stream = Stream::new(0);
        let (mut chosen, has_parts) = self.parts(data_dir, stream)?;
        let [n_train, n_test] = self.n;
        if let Some(n) = n_train {
            chosen.train =
                chosen.train.subset(n.min(chosen.train.len()), stream.at("subset/train"))?;
        }
        if let Some(n) = n_test {
            chosen.test = chosen.test.subset(n.min(chosen.test.len()), stream.at("subset/test"))?;
        }
        if has_parts && !self.holdout.is_none() {
            let (train, holdout) = self.holdout.of_training(&chosen.train)?;
            (chosen.train, chosen.holdout) = (train, Some(holdout));
        }
        Ok(chosen)
    }

    /// All of them, and whether the test images were not taken from the training images.
    fn parts(self, data_dir: Option<&Path>, stream: Stream) -> Result<(Chosen, bool)> {
        let (data, holdout) = (self.data.as_dyn(), self.holdout);
        let whole = if holdout.is_none() { None } else { data.whole(data_dir)? };
        let Some(whole) = whole else {
            let Parts { train, test, .. } = data.parts(data_dir)?;
            remarks::tell(&[train.remarks(), test.remarks()]);
            let files = [train.files(), test.files()].concat();
            return Ok((Chosen { files, train, test, holdout: None }, true));
        };
        remarks::tell(&[whole.remarks()]);
        let (train, test) = holdout.split_classes(&whole, stream.at("holdout"))?;
        eprintln!("{} of {} images are held out to test on", test.len(), whole.len());
        Ok((Chosen { files: whole.files(), train, test, holdout: None }, false))
    }
}

/// The images of a run: to train on, to choose by, to judge by.
pub(crate) struct Sets {
    train: Part,
    /// What is learned from in its place, without labels.
    transfers: Vec<(DataSpec, Part)>,
    files: Vec<DataFile>,
    device: Device,
    test_part: Part,
    pub(crate) test: EvalSet,
    pub(crate) holdout: Option<EvalSet>,
}

impl Sets {
    /// Loads the data set of `spec`. Batches are made on `device`.
    pub(crate) fn load(spec: &Spec, data_dir: Option<&Path>, device: &Device) -> Result<Self> {
        let n = [spec.n_train, spec.n_test];
        let choice = Choice { data: &spec.data, holdout: spec.holdout, n };
        let Chosen { files, train, test, holdout } = choice.load(data_dir)?;
        let transfers = transfers(spec, data_dir, &train)?;
        let others = transfers.iter().flat_map(|(_, part)| part.files());
        let files = files.into_iter().chain(others).collect();
        let set = |part: &Part| EvalSet::new(part.in_order(device)?);
        let holdout = holdout.as_ref().map(set).transpose()?;
        let test_set = set(&test)?;
        let device = device.clone();
        Ok(Self { train, transfers, files, device, test_part: test, test: test_set, holdout })
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
        let stream = Stream::new(seed).at("data");
        self.train_part(spec)?.training(&spec.augment, stream, &self.device)
    }

    /// The training images of one training, as they are.
    pub(crate) fn train_part(&self, spec: &TrainingSpec) -> Result<Part> {
        let of = |data: &DataSpec| self.transfers.iter().find(|(known, _)| known == data);
        let transfer = spec.transfer.as_ref().and_then(of).map(|(_, part)| part);
        let part = without(transfer.unwrap_or(&self.train), spec.omit_class.as_ref())?;
        match spec.n_train {
            Some(n) if n < part.len() => part.subset(n, Stream::new(0).at("subset/training")),
            _ => Ok(part),
        }
    }

    /// Digests of the lists that a teacher elsewhere may have labelled for one training: of the images in
    /// the versions that it shows, and as they are.
    pub(crate) fn lists(&self, spec: &TrainingSpec) -> Result<Vec<String>> {
        let part = self.train_part(spec)?;
        [&spec.augment, &Augment::default()]
            .into_iter()
            .map(|augment| list_digest(&part, augment))
            .collect()
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

/// The images that some training learns from in place of `train`.
fn transfers(spec: &Spec, data_dir: Option<&Path>, train: &Part) -> Result<Vec<(DataSpec, Part)>> {
    let mut all: Vec<(DataSpec, Part)> = Vec::new();
    for data in spec.training.iter().filter_map(|training| training.transfer.as_ref()) {
        if !all.iter().any(|(known, _)| known == data) {
            let part = data.as_dyn().part(data_dir, Split::Train)?;
            remarks::tell(&[part.remarks()]);
            all.push((data.clone(), part.unlabelled(train)?));
        }
    }
    Ok(all)
}

/// `part` without a class.
pub(crate) fn without(part: &Part, class: Option<&Class>) -> Result<Part> {
    match class {
        Some(class) => part.omit_class(class.label(part.class_names())?),
        None => Ok(part.clone()),
    }
}
