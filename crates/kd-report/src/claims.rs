//! The paper's numbers, read from `claims.toml`, where each stands once.

use std::collections::BTreeMap;

use kd_core::record::{DataFile, Evaluation};
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Every number of the paper, in its order, and the digests of the official data.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    official: BTreeMap<String, String>,
    claim: Vec<Claim>,
    #[serde(default)]
    reference: Vec<Reference>,
    #[serde(default)]
    remark: Vec<Remark>,
}

/// One number of the paper.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Such as `mnist/student30/alpha0.5-t5`.
    pub id: String,
    /// What was measured, in words.
    pub what: String,
    /// Whose number it is, with the year; the paper's own where nobody is named.
    pub by: Option<String>,
    /// Table, figure or section of it.
    pub source: String,
    /// How it is measured.
    pub measure: Measure,
    /// The number: a fraction, a count or hours.
    pub value: Option<f64>,
    /// Lower end, when the paper gives an interval.
    pub low: Option<f64>,
    /// Upper end, when the paper gives an interval.
    pub high: Option<f64>,
    /// Ids from best to worst, when the paper gives only an order.
    #[serde(default)]
    pub order: Vec<String>,
    /// Number of images behind the number: test images, or training images for an order on those.
    pub n_test: Option<usize>,
    /// The least difference that would change what is said with the number: the smallest effect that is
    /// at stake. Half of the errors unless given.
    margin: Option<f64>,
    /// Title of the figure that shows it.
    pub figure: Option<String>,
}

/// A number that others published and the paper does not give: no verdict hangs on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// What a suite writes at a model that may be set beside it.
    pub id: String,
    /// What was measured, in words.
    pub what: String,
    /// Where it was published.
    pub source: String,
    /// Fraction of the test images classified correctly.
    pub top1: f64,
    /// Fraction whose label is among the five largest logits.
    pub top5: Option<f64>,
    /// Number of test images.
    pub n_test: usize,
}

/// What the paper leaves open about a suite.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remark {
    suite: String,
    text: String,
}

/// What a claim's number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Measure {
    /// Fraction of the test images classified correctly.
    Top1,
    /// Number of test images classified wrongly.
    Errors,
    /// Number of test images of one class classified wrongly.
    ErrorsOn(usize),
    /// As [`Self::Errors`], after a correction of the bias of a class that was never seen, tuned on the test
    /// images.
    CorrectedErrors(usize),
    /// As [`Self::ErrorsOn`], after the same correction of that class.
    CorrectedErrorsOn(usize),
    /// The temperature of a grid that is best, over all of its weights.
    BestTemperature,
    /// Fraction of adversarial examples withstood.
    Defended,
    /// Hours of GPU time.
    GpuHours,
    /// Which model has fewer top-1 errors on the test images.
    Top1Order,
    /// Which model has fewer top-5 errors on the test images.
    Top5Order,
    /// Which model has fewer top-1 errors on the training images.
    TrainTop1Order,
    /// Which model has fewer top-5 errors on the training images.
    TrainTop5Order,
    /// Which model needs fewer epochs.
    EpochsOrder,
}

impl Claims {
    /// The claims that are built into the program.
    ///
    /// # Errors
    /// [`Error::Parse`] for a key or measure that does not exist.
    pub fn load() -> Result<Self> {
        Self::parse(include_str!("../claims.toml"))
    }

    fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|e| Error::Parse {
            path: "claims.toml".into(),
            offset: e.span().map_or(0, |span| span.start as u64),
            reason: e.message().to_owned(),
        })
    }

    /// All claims, in the paper's order.
    pub fn all(&self) -> &[Claim] {
        &self.claim
    }

    /// The claims that a model marked with `id` answers: the claim of that id, and its error
    /// counts; for models under attack, the claims of all attacks; and the orders in which it has a
    /// place. A model that may only be set beside a [`Reference`] answers none.
    ///
    /// # Errors
    /// [`Error::Config`] when `id` stands nowhere.
    pub fn answered_by(&self, id: &str) -> Result<Vec<&Claim>> {
        let answered =
            |claim: &&Claim| claim.model_id() == id || claim.order.iter().any(|place| place == id);
        let found: Vec<_> = self.claim.iter().filter(answered).collect();
        if found.is_empty() && !self.reference.iter().any(|reference| reference.id == id) {
            return Err(Error::config("claim", format!("`{id}` is no id in claims.toml")));
        }
        Ok(found)
    }

    /// Hours of GPU time that the paper spent on `suite`, where it says.
    pub(crate) fn gpu_hours(&self, suite: &str) -> Option<f64> {
        self.of_suite(suite).find(|claim| claim.measure == Measure::GpuHours)?.value
    }

    /// The paper's orders of the models of `suite`.
    pub(crate) fn orders(&self, suite: &str) -> Vec<&Claim> {
        self.of_suite(suite).filter(|claim| !claim.order.is_empty()).collect()
    }

    fn of_suite(&self, suite: &str) -> impl Iterator<Item = &Claim> {
        self.claim.iter().filter(move |claim| suite_of(&claim.id) == suite)
    }

    /// What others published about the models of `suite`.
    pub(crate) fn references(&self, suite: &str) -> Vec<&Reference> {
        self.reference.iter().filter(|reference| suite_of(&reference.id) == suite).collect()
    }

    /// What the paper leaves open about `suite`.
    pub(crate) fn remarks(&self, suite: &str) -> Vec<String> {
        let here = self.remark.iter().filter(|remark| remark.suite == suite);
        here.map(|remark| remark.text.clone()).collect()
    }

    /// Whether all `files` are official ones, to the bit.
    pub fn are_official(&self, files: &[DataFile]) -> bool {
        let known = |file: &DataFile| self.official.values().any(|sha256| *sha256 == file.sha256);
        !files.is_empty() && files.iter().all(known)
    }
}

/// The suite that an id belongs to: its first part.
fn suite_of(id: &str) -> &str {
    id.split_once('/').map_or(id, |(suite, _)| suite)
}

impl Claim {
    /// The id without the suffix that names an error count or an attack: what a suite writes at a
    /// model.
    pub fn model_id(&self) -> &str {
        let suffix = match self.measure {
            Measure::Errors => "/errors".to_owned(),
            Measure::ErrorsOn(class) => format!("/errors-on-{class}"),
            Measure::BestTemperature => "/best-temperature".to_owned(),
            Measure::CorrectedErrors(_) => "/corrected-errors".to_owned(),
            Measure::CorrectedErrorsOn(class) => format!("/corrected-errors-on-{class}"),
            Measure::Defended => return self.id.rsplitn(3, '/').nth(2).unwrap_or(&self.id),
            _ => return &self.id,
        };
        self.id.strip_suffix(&suffix).unwrap_or(&self.id)
    }

    /// Whose number it is, and where it stands.
    pub fn source(&self) -> String {
        match &self.by {
            Some(by) => format!("{by}, {}", self.source),
            None => self.source.clone(),
        }
    }

    /// Lower and upper end of the paper's number; equal for a single one, `None` for an order.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.value.map(|value| (value, value)).or(self.low.zip(self.high))
    }

    /// The least difference that matters.
    pub fn margin(&self) -> Option<f64> {
        let (low, high) = self.interval()?;
        let errors = if self.measure.is_fraction() { 1.0 - high } else { low };
        Some(self.margin.unwrap_or(errors / 2.0))
    }
}

impl Measure {
    /// Whether a higher number is a better one.
    pub fn higher_is_better(self) -> bool {
        matches!(self, Self::Top1 | Self::Defended)
    }

    /// Whether the number is a count out of the test images.
    pub fn is_count(self) -> bool {
        matches!(
            self,
            Self::Errors
                | Self::ErrorsOn(_)
                | Self::CorrectedErrors(_)
                | Self::CorrectedErrorsOn(_)
        )
    }

    /// Whether the number is a fraction of the images.
    pub fn is_fraction(self) -> bool {
        matches!(self, Self::Top1 | Self::Defended)
    }

    /// Number of test images that the measure looks at.
    pub fn n_images(self, evaluation: &Evaluation) -> usize {
        match self {
            Self::ErrorsOn(class) | Self::CorrectedErrorsOn(class) => evaluation.images_of(class),
            _ => evaluation.total,
        }
    }
}

impl TryFrom<String> for Measure {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let (name, class) = match text.split_once(':') {
            Some((name, class)) => (name, class.parse().ok()),
            None => (text.as_str(), None),
        };
        Ok(match (name, class) {
            ("errors-on", Some(class)) => Self::ErrorsOn(class),
            ("corrected-errors", Some(class)) => Self::CorrectedErrors(class),
            ("corrected-errors-on", Some(class)) => Self::CorrectedErrorsOn(class),
            ("top1", None) => Self::Top1,
            ("errors", None) => Self::Errors,
            ("best-temperature", None) => Self::BestTemperature,
            ("defended", None) => Self::Defended,
            ("gpu-hours", None) => Self::GpuHours,
            ("top1-order", None) => Self::Top1Order,
            ("top5-order", None) => Self::Top5Order,
            ("train-top1-order", None) => Self::TrainTop1Order,
            ("train-top5-order", None) => Self::TrainTop5Order,
            ("epochs-order", None) => Self::EpochsOrder,
            _ => return Err(format!("unknown measure `{text}`")),
        })
    }
}

impl From<Measure> for String {
    fn from(measure: Measure) -> Self {
        match measure {
            Measure::Top1 => "top1".into(),
            Measure::Errors => "errors".into(),
            Measure::ErrorsOn(class) => format!("errors-on:{class}"),
            Measure::CorrectedErrors(class) => format!("corrected-errors:{class}"),
            Measure::CorrectedErrorsOn(class) => format!("corrected-errors-on:{class}"),
            Measure::BestTemperature => "best-temperature".into(),
            Measure::Defended => "defended".into(),
            Measure::GpuHours => "gpu-hours".into(),
            Measure::Top1Order => "top1-order".into(),
            Measure::Top5Order => "top5-order".into(),
            Measure::TrainTop1Order => "train-top1-order".into(),
            Measure::TrainTop5Order => "train-top5-order".into(),
            Measure::EpochsOrder => "epochs-order".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn value(id: &str) -> f64 {
        let claims = Claims::load().unwrap();
        claims.all().iter().find(|claim| claim.id == id).unwrap().value.unwrap()
    }

    #[test]
    fn ids_are_unique_and_each_claim_states_one_thing() {
        let claims = Claims::load().unwrap();
        let ids: BTreeSet<_> = claims.all().iter().map(|claim| &claim.id).collect();
        assert_eq!(ids.len(), claims.all().len());
        for claim in claims.all() {
            let given = [claim.value.is_some(), claim.low.is_some(), !claim.order.is_empty()];
            assert_eq!(given.iter().filter(|&&given| given).count(), 1, "{}", claim.id);
            assert_eq!(claim.low.is_some(), claim.high.is_some(), "{}", claim.id);
            let counted = claim.measure.is_count() || matches!(claim.measure, Measure::Top1);
            assert!(!counted || claim.n_test.is_some(), "{}", claim.id);
        }
        assert_eq!(claims.all().len(), 17 + 8 + 12 + 4 + 4);
    }

    #[test]
    fn the_numbers_fit_each_other() {
        let best = ["1", "5", "10"].map(|t| value(&format!("mnist/student30/alpha0.5-t{t}")));
        assert!(best[1] > best[0] && best[1] > best[2]);
        let gain = best[1] - value("mnist/student30/baseline");
        assert!((gain - 0.0057).abs() < 1e-12, "0.57 points, as the paper's text says");
        assert!(value("mnist/student300/distilled") < value("mnist/student300/baseline"));
        let ceiling = 1.0 - 1010.0 / 10_000.0;
        assert!((ceiling - 0.8990_f64).abs() < 1e-12 && value("mnist/omit3/baseline") < ceiling);
        let accuracy = 1.0 - value("mnist/omit3/distilled/errors") / 10_000.0;
        assert!((accuracy - 0.9908).abs() < 1e-12);
    }

    #[test]
    fn a_model_answers_its_claim_and_the_error_counts() {
        let claims = Claims::load().unwrap();
        let ids = |id| claims.answered_by(id).map(|c| c.iter().map(|c| c.id.clone()).collect());
        let counts = ["mnist/omit3/distilled/errors", "mnist/omit3/distilled/errors-on-3"];
        let found: Vec<String> = ids("mnist/omit3/distilled").unwrap();
        assert_eq!(found, counts);
        assert_eq!(ids("mnist/teacher").unwrap(), ["mnist/teacher", "mnist/teacher/errors"]);
        let hinton: Vec<String> = ids("mnist/omit3-800/distilled").unwrap();
        assert_eq!(hinton.len(), 4, "with and without the correction");
        let attacks = ["defensive/mnist/fgsm/defended", "defensive/mnist/pgd/defended"];
        assert_eq!(ids("defensive/mnist").unwrap(), attacks);
        assert!(ids("mnist/teacher2").unwrap_err().to_string().contains("claims.toml"));
    }

    #[test]
    fn a_model_may_have_a_place_in_an_order_or_stand_beside_a_reference() {
        let claims = Claims::load().unwrap();
        let found = claims.answered_by("imagenet/resnet18/t10").unwrap();
        assert_eq!(found.len(), 4, "Figures 3 to 6");
        assert!(found.iter().all(|claim| claim.figure.is_some() && claim.interval().is_none()));
        assert!(claims.answered_by("imagenet/resnet18/t4").unwrap().is_empty());
        assert_eq!((claims.orders("imagenet").len(), claims.orders("cifar10").len()), (4, 0));
        assert!(claims.references("mnist").is_empty() && claims.remarks("mnist").is_empty());
        let references = claims.references("imagenet");
        assert!(references.len() > 2 && references.iter().all(|r| r.n_test == 50_000));
        assert!(references.iter().all(|r| (0.6..0.8).contains(&r.top1)));
    }

    #[test]
    fn half_of_the_errors_matter_unless_less_is_at_stake() {
        let claims = Claims::load().unwrap();
        let margin = |id: &str| claims.all().iter().find(|claim| claim.id == id).unwrap().margin();
        let close = |got: Option<f64>, want: f64| (got.unwrap() - want).abs() < 1e-12;
        assert!(close(margin("mnist/teacher"), 0.0063 / 2.0));
        assert!(close(margin("mnist/omit3/distilled/errors"), 46.0));
        assert!(close(margin("mnist/student30/alpha0.9-t10"), 0.0057));
        assert!(close(margin("defensive/mnist/fgsm/defended"), 0.15), "1 - 0.70, halved");
        assert!(margin("mnist/student300/convergence").is_none());
    }

    #[test]
    fn unknown_keys_and_measures_are_refused() {
        let claim = "[official]\n[[claim]]\nid = \"a\"\nwhat = \"\"\nsource = \"\"\n";
        assert!(Claims::parse(&format!("{claim}measure = \"errors-on:3\"\n")).is_ok());
        assert!(Claims::parse(&format!("{claim}measure = \"errors-on\"\n")).is_err());
        assert!(Claims::parse(&format!("{claim}measure = \"top1:3\"\n")).is_err());
        assert!(Claims::parse(&format!("{claim}measure = \"top2\"\n")).is_err());
        assert!(Claims::parse(&format!("{claim}measure = \"top1\"\nx = 1\n")).is_err());
    }

    #[test]
    fn only_the_official_files_are_official() {
        let claims = Claims::load().unwrap();
        let sha256 = claims.official["t10k-images-idx3-ubyte"].clone();
        let file = DataFile { sha256, ..DataFile::default() };
        assert!(claims.are_official(std::slice::from_ref(&file)));
        assert!(!claims.are_official(&[file, DataFile::default()]));
        assert!(!claims.are_official(&[]));
    }
}
