//! Objectives of training, by name.

mod abkd;
mod attended;
mod attention;
mod confidence_penalty;
mod contrastive;
mod ctkd;
mod dist;
mod distill;
mod dkd;
mod features;
mod hint;
mod label_smoothing;
mod labels;
mod maps;
mod mlkd;
mod mutual;
mod nkd;
mod norm_kd;
mod pair;
mod probabilistic;
mod regression;
mod relational;
mod review;
mod rld;
mod rows;
mod similarity;
mod sld;
mod srd;
mod standardized;
mod teacher_free;
mod ttm;
mod variational;
mod wkd;

use std::collections::BTreeMap;

use candle_core::Tensor;
use kd_core::{Error, Params, Result, Stream, registry};

/// What an objective may look at.
#[derive(Debug, Clone, Copy)]
pub struct LossInput<'a> {
    /// The student's logits, `(N, K)`.
    pub logits: &'a Tensor,
    /// The teacher's logits on the same images, `(N, K)`, if there is a teacher.
    pub teacher_logits: Option<&'a Tensor>,
    /// `(N,)` u32.
    pub labels: &'a Tensor,
    /// Outputs of the student's parts [`Loss::taps`], by name, as the network gives them: those of
    /// a [`kd_core::Net`] are `(N, H, W, C)` or `(N, F)`.
    pub taps: &'a BTreeMap<String, Tensor>,
    /// Outputs of the teacher's parts [`Loss::teacher_taps`], by name.
    pub teacher_taps: &'a BTreeMap<String, Tensor>,
    /// What both say of other versions of the same images, one less than [`Loss::n_views`].
    pub views: &'a [View],
    /// What the others say that learn from each other with the student, `(N, K)` each, as constants.
    pub peers: &'a [Tensor],
    /// Position of each image in its data set.
    pub indices: &'a [u32],
    /// Images of the data set.
    pub n_samples: usize,
    /// What the objective learns itself: [`Loss::own_params`].
    pub own: &'a Params,
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The randomness of this step.
    pub stream: Stream,
}

/// What student and teacher say of another version of the images.
#[derive(Debug, Clone)]
pub struct View {
    /// The student's logits, `(N, K)`.
    pub logits: Tensor,
    /// The teacher's, if there is one.
    pub teacher_logits: Option<Tensor>,
}

impl<'a> LossInput<'a> {
    /// Logits and labels in the first epoch, without a teacher or taps.
    pub fn new(logits: &'a Tensor, labels: &'a Tensor) -> Self {
        let none = const { &BTreeMap::new() };
        Self {
            logits,
            teacher_logits: None,
            labels,
            taps: none,
            teacher_taps: none,
            views: &[],
            peers: &[],
            indices: &[],
            n_samples: 0,
            own: const { &Params::new() },
            epoch: 0,
            stream: Stream::new(0),
        }
    }

    /// The student's part `name`.
    ///
    /// # Errors
    /// [`Error::Config`] when [`Loss::taps`] did not ask for it.
    pub fn tap(&self, name: &str) -> Result<&'a Tensor> {
        let reason = "the objective did not ask for this part of the student";
        self.taps.get(name).ok_or_else(|| Error::config(name, reason))
    }

    /// The teacher's part `name`.
    ///
    /// # Errors
    /// [`Error::Config`] when [`Loss::teacher_taps`] did not ask for it.
    pub fn teacher_tap(&self, name: &str) -> Result<&'a Tensor> {
        let reason = "the objective did not ask for this part of the teacher";
        self.teacher_taps.get(name).ok_or_else(|| Error::config(name, reason))
    }

    /// The teacher's logits.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no teacher.
    pub fn teacher(&self) -> Result<&'a Tensor> {
        self.teacher_logits.ok_or_else(|| Error::config("teacher", "this objective needs one"))
    }
}

/// An objective: the mean over the batch, in nats.
///
/// [`LossSpec`] has those that suite files name; any other type that implements this trait goes
/// into a [`crate::Student`] just as well:
///
/// ```
/// use candle_core::Tensor;
/// use kd_core::{Result, ops};
/// use kd_train::{Loss, LossInput};
///
/// /// Labels, and the squared distance of the logits from the teacher's (Ba and Caruana 2014).
/// struct Regression {
///     weight: f64,
/// }
///
/// impl Loss for Regression {
///     fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
///         let distance = (input.logits - input.teacher()?)?.sqr()?.mean_all()?;
///         let labels = ops::cross_entropy(input.logits, input.labels, 0.0)?;
///         Ok((labels + (distance * self.weight)?)?)
///     }
///
///     fn needs_teacher(&self) -> bool {
///         true
///     }
/// }
///
/// # use candle_core::Device;
/// let logits = Tensor::new(&[[0f32, 0.0]], &Device::Cpu)?;
/// let labels = Tensor::new(&[1u32], &Device::Cpu)?;
/// let input = LossInput { teacher_logits: Some(&logits), ..LossInput::new(&logits, &labels) };
/// let loss = Regression { weight: 0.5 }.loss(&input)?.to_scalar::<f32>()?;
/// assert!((loss - 2f32.ln()).abs() < 1e-6);
/// # Ok::<(), kd_core::Error>(())
/// ```
pub trait Loss: Send + Sync {
    /// The loss, a scalar; its gradient flows to the student's logits and taps.
    ///
    /// # Errors
    /// [`Error::Config`] when a teacher is needed and there is none; shapes that do not fit.
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor>;

    /// Whether there must be a teacher: where its probabilities enter or parts of it are compared, if it does
    /// not say otherwise.
    fn needs_teacher(&self) -> bool {
        self.temperature().is_some() || !self.teacher_taps().is_empty()
    }

    /// Whether it looks at what other students of the cohort say, which look at its: all that do learn from each
    /// other.
    fn needs_peers(&self) -> bool {
        false
    }

    /// T at which the teacher's probabilities enter, where they do.
    fn temperature(&self) -> Option<f64> {
        None
    }

    /// Whether it looks at labels.
    fn needs_labels(&self) -> bool {
        true
    }

    /// Whether it is a mean over images of what the logits of each image alone say, student's and teacher's,
    /// and learns nothing itself: then the shards of a batch can be looked at one by one.
    fn is_per_image(&self) -> bool {
        false
    }

    /// The parts of student and teacher that it compares.
    fn pairs(&self) -> &[Pair] {
        &[]
    }

    /// Names of the student's parts whose outputs are needed, of [`kd_core::Classifier::tap_names`]: those of
    /// [`Loss::pairs`], if it does not say otherwise.
    fn taps(&self) -> Vec<String> {
        self.pairs().iter().map(|pair| pair.student.clone()).collect()
    }

    /// The same of the teacher.
    fn teacher_taps(&self) -> Vec<String> {
        self.pairs().iter().map(|pair| pair.teacher.clone()).collect()
    }

    /// Versions of each image that it looks at, 1 or more: beside that which the epoch shows, others that
    /// the augmentation could have made of it.
    fn n_views(&self) -> usize {
        1
    }

    /// Parameters that it learns itself, such as projectors, of the sizes that the first batch shows, and
    /// buffers that it keeps. They are stepped by the student's optimizer and kept in checkpoints, and are
    /// no part of the student that is saved in the end.
    ///
    /// # Errors
    /// Sizes that do not fit.
    fn own_params(&self, _first: &LossInput<'_>) -> Result<Params> {
        Ok(Params::new())
    }

    /// Refuses settings outside their domain.
    ///
    /// # Errors
    /// [`Error::Config`], naming the setting.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

registry! {
    /// An objective, chosen by `kind` in a suite file.
    pub enum LossSpec: dyn Loss {
        "labels" => Labels(labels::Labels),
        "label-smoothing" => LabelSmoothing(label_smoothing::LabelSmoothing),
        "distill" => Distill(distill::Distill),
        "features" => Features(features::Features),
        "regression" => Regression(regression::Regression),
        "dkd" => Dkd(dkd::Dkd),
        "nkd" => Nkd(nkd::Nkd),
        "dist" => Dist(dist::Dist),
        "standardized" => Standardized(standardized::Standardized),
        "ttm" => Ttm(ttm::Ttm),
        "norm-kd" => NormKd(norm_kd::NormKd),
        "rld" => Rld(rld::Rld),
        "abkd" => Abkd(abkd::Abkd),
        "teacher-free" => TeacherFree(teacher_free::TeacherFree),
        "confidence-penalty" => ConfidencePenalty(confidence_penalty::ConfidencePenalty),
        "ctkd" => Ctkd(ctkd::Ctkd),
        "wkd" => Wkd(wkd::Wkd),
        "mlkd" => Mlkd(mlkd::Mlkd),
        "sld" => Sld(sld::Sld),
        "hint" => Hint(hint::Hint),
        "attention" => Attention(attention::Attention),
        "similarity" => Similarity(similarity::Similarity),
        "relational" => Relational(relational::Relational),
        "probabilistic" => Probabilistic(probabilistic::Probabilistic),
        "variational" => Variational(variational::Variational),
        "contrastive" => Contrastive(contrastive::Contrastive),
        "review" => Review(review::Review),
        "srd" => Srd(srd::Srd),
        "mutual" => Mutual(mutual::Mutual),
    }
}

pub use abkd::Abkd;
pub use attention::Attention;
pub use confidence_penalty::ConfidencePenalty;
pub use contrastive::Contrastive;
pub use ctkd::Ctkd;
pub use dist::Dist;
pub use distill::Distill;
pub use dkd::Dkd;
pub use features::Features;
pub use hint::Hint;
pub use label_smoothing::LabelSmoothing;
pub use labels::Labels;
pub use mlkd::Mlkd;
pub use mutual::Mutual;
pub use nkd::Nkd;
pub use norm_kd::NormKd;
pub use pair::Pair;
pub use probabilistic::Probabilistic;
pub use regression::Regression;
pub use relational::Relational;
pub use review::Review;
pub use rld::Rld;
pub use similarity::Similarity;
pub use sld::Sld;
pub use srd::Srd;
pub use standardized::Standardized;
pub use teacher_free::TeacherFree;
pub use ttm::Ttm;
pub use variational::Variational;
pub use wkd::Wkd;

impl Loss for LossSpec {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        self.as_dyn().loss(input)
    }

    fn needs_teacher(&self) -> bool {
        self.as_dyn().needs_teacher()
    }

    fn needs_peers(&self) -> bool {
        self.as_dyn().needs_peers()
    }

    fn temperature(&self) -> Option<f64> {
        self.as_dyn().temperature()
    }

    fn needs_labels(&self) -> bool {
        self.as_dyn().needs_labels()
    }

    fn is_per_image(&self) -> bool {
        self.as_dyn().is_per_image()
    }

    fn pairs(&self) -> &[Pair] {
        self.as_dyn().pairs()
    }

    fn taps(&self) -> Vec<String> {
        self.as_dyn().taps()
    }

    fn teacher_taps(&self) -> Vec<String> {
        self.as_dyn().teacher_taps()
    }

    fn n_views(&self) -> usize {
        self.as_dyn().n_views()
    }

    fn own_params(&self, first: &LossInput<'_>) -> Result<Params> {
        self.as_dyn().own_params(first)
    }

    fn check(&self) -> Result<()> {
        self.as_dyn().check()
    }
}

#[cfg(test)]
mod tests;
