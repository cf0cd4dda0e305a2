//! The image sets of a run.

use std::path::Path;
use std::sync::Arc;

use kd_core::record::DataFile;
use kd_core::{Result, Stream};
use kd_data::{Images, Loader};
use kd_train::EvalSet;

use crate::suite::{Spec, TrainingSpec};

/// The images of a run: to train on, to choose by, to judge by.
pub(crate) struct Sets {
    train: Images,
    files: Vec<DataFile>,
    normalize: kd_data::Normalize,
    test_images: Arc<Images>,
    pub(crate) test: EvalSet,
    pub(crate) holdout: Option<EvalSet>,
}

impl Sets {
    /// Loads the data set of `spec`. What is set aside and what is left out does not depend on the
    /// seed, so that all repetitions are judged alike.
    pub(crate) fn load(spec: &Spec, data_dir: Option<&Path>) -> Result<Self> {
        let splits = spec.data.as_dyn().load(data_dir)?;
        let files = splits.train.files().iter().chain(splits.test.files()).cloned().collect();
        let stream = Stream::new(0);
        let (mut train, mut test) = (splits.train, splits.test);
        if let Some(n) = spec.n_train {
            train = train.subset(n.min(train.len()), stream.at("subset/train"))?;
        }
        if let Some(n) = spec.n_test {
            test = test.subset(n.min(test.len()), stream.at("subset/test"))?;
        }
        let mut holdout = None;
        if spec.holdout > 0 {
            let parts = train.split_holdout(spec.holdout, stream.at("holdout"))?;
            train = parts.0;
            holdout = Some(eval_set(Arc::new(parts.1), &spec.normalize)?);
        }
        let test_images = Arc::new(test);
        let test = eval_set(test_images.clone(), &spec.normalize)?;
        let normalize = spec.normalize.clone();
        Ok(Self { train, files, normalize, test_images, test, holdout })
    }

    /// The files that the images come from.
    pub(crate) fn files(&self) -> Vec<DataFile> {
        self.files.clone()
    }

    /// `[C, H, W]` and the number of classes.
    pub(crate) fn shape(&self) -> ([usize; 3], usize) {
        (self.train.shape(), self.train.n_classes())
    }

    /// The training images of one training and seed.
    pub(crate) fn train(&self, spec: &TrainingSpec, seed: u64) -> Result<Loader> {
        let images = match spec.omit_class {
            Some(class) => self.train.omit_class(class)?,
            None => self.train.clone(),
        };
        let stream = Stream::new(seed).at("data");
        Loader::new(Arc::new(images), spec.augment.clone(), self.normalize.clone(), stream)
    }

    /// The test images as bytes, for attacks.
    pub(crate) fn test_images(&self) -> &Images {
        &self.test_images
    }

    /// All training images, of every class, as they are.
    pub(crate) fn train_in_order(&self) -> Result<Loader> {
        Loader::in_order(Arc::new(self.train.clone()), self.normalize.clone())
    }
}

/// Images as they are, for evaluation.
pub(crate) fn eval_set(images: Arc<Images>, normalize: &kd_data::Normalize) -> Result<EvalSet> {
    EvalSet::new(&Loader::in_order(images, normalize.clone())?)
}
