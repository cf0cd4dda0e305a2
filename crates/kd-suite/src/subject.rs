//! A network of a file and a part of a data set, without a suite: what `kd eval` does, and what
//! `kd attack` begins with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;
use kd_core::ops::{ConvSums, Normalize};
use kd_core::record::Evaluation;
use kd_core::{Classifier, Error, Result};
use kd_data::{DataSpec, Split};
use kd_models::ModelSpec;
use kd_models::weights::Naming;
use kd_train::EvalSet;
use serde::Serialize;

use crate::remarks;
use crate::weights::{self, Contents, Loaded, Wanted};

/// A file of weights.
#[derive(Debug, Clone)]
pub struct NetworkFile {
    /// The file, or a checkpoint folder.
    pub path: PathBuf,
    /// The network, where the file does not say it.
    pub model: Option<ModelSpec>,
    /// Where in it the weights are, where it is from elsewhere.
    pub naming: Naming,
}

impl NetworkFile {
    /// The file `path`, of the network that is called `model`.
    ///
    /// # Errors
    /// [`Error::Config`] for no network's name.
    pub fn new(path: impl Into<PathBuf>, model: Option<&str>, naming: Naming) -> Result<Self> {
        Ok(Self { path: path.into(), model: model.map(crate::model).transpose()?, naming })
    }

    /// The file `weights`, of the network that is called `model`; or that network's own file, where it is an
    /// ONNX file, which has its weights with it.
    ///
    /// # Errors
    /// [`Error::Config`] for no network's name, and without a file.
    pub fn given(weights: Option<&Path>, model: Option<&str>, naming: Naming) -> Result<Self> {
        match (weights, model.filter(|model| model.ends_with(".onnx"))) {
            (Some(weights), _) => Self::new(weights, model, naming),
            (None, Some(file)) => Self::new(file, None, naming),
            (None, None) => {
                let reason = "only an ONNX file has them with it; give --weights PATH";
                Err(Error::config("weights", reason))
            }
        }
    }

    /// The network in it, whatever it is for.
    pub fn wanted(&self) -> Wanted<'_> {
        Wanted { model: self.model.as_ref(), naming: Some(&self.naming), ..Wanted::default() }
    }
}

/// A network of a file, with what its file does not say.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub file: NetworkFile,
    /// Its normalization.
    pub normalize: Option<Normalize>,
    /// `[C, H, W]` of its images.
    pub image_shape: Option<[usize; 3]>,
    /// Number of its classes.
    pub n_classes: Option<usize>,
}

impl Source {
    /// The network, on the processor; says on stderr what is to be known of how it was loaded.
    ///
    /// # Errors
    /// Those of [`weights::load`].
    pub fn load(&self) -> Result<Loaded> {
        weights::load_aloud(&self.file.path, &self.wanted(), &Device::Cpu)
    }

    /// What is in the file, and what would be loaded.
    ///
    /// # Errors
    /// Those of [`weights::contents`].
    pub fn contents(&self) -> Result<Contents> {
        weights::contents(&self.file.path, &self.wanted())
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            normalize: self.normalize.as_ref(),
            image_shape: self.image_shape,
            n_classes: self.n_classes,
            ..self.file.wanted()
        }
    }
}

/// A network of a file, and the images that it is judged by.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The network.
    pub network: NetworkFile,
    /// Its normalization where its file does not say it, in place of the data set's.
    pub normalize: Option<Normalize>,
    /// The data set.
    pub data: DataSpec,
    /// Where data sets are.
    pub data_dir: PathBuf,
    /// The part that the images are of.
    pub split: Split,
    /// What it computes on.
    pub device: Device,
    /// How its convolutions form their sums.
    pub conv_sums: ConvSums,
}

/// How good a network is.
#[derive(Debug, Serialize)]
pub struct Evaluated {
    /// Short name of the network.
    pub model: String,
    /// Number of its parameters.
    pub parameters: usize,
    /// The part of the data set.
    pub split: Split,
    /// Names of the classes, by label; none where they are not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// The figures.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// How fast it was.
    pub images_per_second: f64,
}

impl fmt::Display for Evaluated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.evaluation;
        writeln!(f, "{}: {} parameters", self.model, self.parameters)?;
        writeln!(f, "correct  {} of {}", e.correct, e.total)?;
        writeln!(f, "top-1    {:.2} %", 100.0 * e.top1)?;
        if !e.has_few_classes() {
            writeln!(f, "top-5    {:.2} %", 100.0 * e.top5)?;
        }
        writeln!(f, "NLL      {:.4} nats", e.nll)?;
        writeln!(f, "ECE      {:.4}", e.ece)?;
        write!(f, "speed    {:.0} images/s", self.images_per_second)
    }
}

impl Subject {
    /// Evaluates the network on all images.
    ///
    /// # Errors
    /// Those of data and files; whatever the network reports.
    pub fn evaluate(&self) -> Result<Evaluated> {
        let part = self.data.as_dyn().part(Some(&self.data_dir), self.split)?;
        remarks::tell(&[part.remarks()]);
        let Loaded { network, name, .. } =
            self.load((part.shape(), part.n_classes()), part.class_names())?;
        let set = EvalSet::new(part.in_order(&self.device)?)?;
        let started = Instant::now();
        let evaluation = set.evaluate(&network, None)?;
        let images_per_second = evaluation.total as f64 / started.elapsed().as_secs_f64();
        Ok(Evaluated {
            model: name,
            parameters: network.params().n_elements(),
            split: self.split,
            class_names: part.class_names().to_vec(),
            evaluation,
            images_per_second,
        })
    }

    /// What is in the network's file, and what would be loaded.
    ///
    /// # Errors
    /// Those of data and files.
    pub fn contents(&self) -> Result<Contents> {
        let part = self.data.as_dyn().part(Some(&self.data_dir), self.split)?;
        let shape = (part.shape(), part.n_classes());
        let default = self.data.as_dyn().normalize_for(shape.0[0]);
        weights::contents(&self.network.path, &self.wanted(shape, part.class_names(), &default))
    }

    /// The network, for such images and number of classes.
    pub(crate) fn load(&self, shape: ([usize; 3], usize), names: &[String]) -> Result<Loaded> {
        let default = self.data.as_dyn().normalize_for(shape.0[0]);
        self.load_as(&self.wanted(shape, names, &default), &self.network.path)
    }

    fn wanted<'a>(
        &'a self,
        shape: ([usize; 3], usize),
        names: &'a [String],
        default: &'a Normalize,
    ) -> Wanted<'a> {
        Wanted {
            model: self.network.model.as_ref(),
            normalize: self.normalize.as_ref(),
            default_normalize: Some(default),
            naming: Some(&self.network.naming),
            ..Wanted::of(shape, names)
        }
    }

    /// Another one for them, which may be of another family and normalize in another way.
    pub(crate) fn load_other(
        &self,
        file: &NetworkFile,
        shape: ([usize; 3], usize),
        names: &[String],
    ) -> Result<Loaded> {
        let default = self.data.as_dyn().normalize_for(shape.0[0]);
        let default_normalize = Some(self.normalize.as_ref().unwrap_or(&default));
        let (model, default_model) = (file.model.as_ref(), self.network.model.as_ref());
        let naming = Some(&file.naming);
        let of = Wanted::of(shape, names);
        let wanted = Wanted { model, default_model, default_normalize, naming, ..of };
        self.load_as(&wanted, &file.path)
    }

    fn load_as(&self, wanted: &Wanted<'_>, path: &Path) -> Result<Loaded> {
        let mut loaded = weights::load_aloud(path, wanted, &self.device)?;
        loaded.network = loaded.network.with_conv_sums(self.conv_sums).fixed();
        Ok(loaded)
    }
}
