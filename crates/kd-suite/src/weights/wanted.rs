//! What is known of a network before its weights are read, and whether a file agrees.

use std::path::Path;

use kd_core::checkpoint::Description;
use kd_core::ops::Normalize;
use kd_core::{Error, Graph, Result};
use kd_models::ModelSpec;
use kd_models::weights::Naming;

/// What is known of a network before its weights are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The network that a flag names.
    pub model: Option<&'a ModelSpec>,
    /// The normalization that flags give.
    pub normalize: Option<&'a Normalize>,
    /// `[C, H, W]` of the images that it is to see.
    pub image_shape: Option<[usize; 3]>,
    /// Number of classes that it is to tell apart.
    pub n_classes: Option<usize>,
    /// Names of the classes of the data that it is to judge, none where they are not known; nothing
    /// where it is to judge none.
    pub class_names: Option<&'a [String]>,
    /// Where in a file from elsewhere the weights are, and how their names become the network's.
    pub naming: Option<&'a Naming>,
    /// Whether only the network's weights are wanted, whatever its images and classes.
    pub only_weights: bool,
    /// The network of a file that does not say it, where no flag does.
    pub default_model: Option<&'a ModelSpec>,
    /// The normalization of a network of which neither file nor flags say it.
    pub default_normalize: Option<&'a Normalize>,
}

impl<'a> Wanted<'a> {
    /// Any network for such images, number of classes, and classes.
    pub fn of((image_shape, n_classes): ([usize; 3], usize), class_names: &'a [String]) -> Self {
        Self {
            image_shape: Some(image_shape),
            n_classes: Some(n_classes),
            class_names: Some(class_names),
            ..Self::default()
        }
    }

    /// What a file says of its network, if nothing that is wanted contradicts it.
    pub(super) fn agreed(&self, known: Description, path: &Path) -> Result<Description> {
        let (graph, path) = (&known.graph, path.display());
        let n_classes = graph.n_classes()?;
        let shape = (graph.image_shape, n_classes);
        // Those of data are looked at by name, later.
        let wanted_classes = self.n_classes.filter(|_| self.class_names.is_none());
        let wanted = (self.image_shape.unwrap_or(shape.0), wanted_classes.unwrap_or(shape.1));
        if wanted != shape && !self.only_weights {
            let reason = format!(
                "{path} holds a network for images of {:?} and {} classes, not of {:?} and {}",
                shape.0, shape.1, wanted.0, wanted.1
            );
            return Err(Error::config("images", reason));
        }
        if self.normalize.is_some_and(|given| Some(given) != graph.normalization()) {
            let how = normalization(graph);
            let reason = format!("{path} has its own, {how}; leave out --mean and --std");
            return Err(Error::config("normalize", reason));
        }
        if let Some(model) = self.model {
            let other = self::graph(model, shape, graph.normalization())?;
            if other.without_dropout() != graph.without_dropout() {
                let (given, name) = (model.short_name(), &known.name);
                let reason = format!("{path} holds `{name}`, not `{given}`; leave out --model");
                return Err(Error::config("model", reason));
            }
        }
        Ok(known)
    }

    /// The network of a file that says nothing of it.
    pub(super) fn description(&self, n_classes: Option<usize>, path: &Path) -> Result<Description> {
        let Some(model) = self.model.or(self.default_model) else {
            let path = path.display();
            let reason = format!("{path} does not say what network it holds; name it by --model");
            return Err(Error::config("model", reason));
        };
        let image_shape = self.image_shape.unwrap_or(DEFAULT_SHAPE.0);
        let n_classes = n_classes.unwrap_or(DEFAULT_SHAPE.1);
        let normalize = self.normalize.or(self.default_normalize);
        let graph = graph(model, (image_shape, n_classes), normalize)?;
        if self.normalize.is_some_and(|given| Some(given) != graph.normalization()) {
            let reason = format!("the network has its own, {}", normalization(&graph));
            return Err(Error::config("normalize", reason));
        }
        Ok(Description::new(model.short_name(), graph))
    }
}

/// Images and classes of CIFAR-10, which weights from elsewhere are for where nothing is said.
const DEFAULT_SHAPE: ([usize; 3], usize) = ([3, 32, 32], 10);

/// How a network normalizes its images, in words.
pub(crate) fn normalization(graph: &Graph) -> String {
    let list = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
    match graph.normalization() {
        Some(Normalize { mean, std }) => format!("mean {} and std {}", list(mean), list(std)),
        None => "pixels in [0, 1] as they are".into(),
    }
}

/// The network of `model` for such images, which it normalizes if that is said; one in a file takes
/// them as it does.
///
/// # Errors
/// [`Error::Config`] for settings that describe no network.
pub fn graph(
    model: &ModelSpec,
    (image_shape, n_classes): ([usize; 3], usize),
    normalize: Option<&Normalize>,
) -> Result<Graph> {
    let graph = model.as_dyn().graph(image_shape, n_classes)?;
    match normalize.filter(|_| !model.as_dyn().is_in_a_file()) {
        Some(normalize) => graph.normalized(&normalize.mean, &normalize.std),
        None => Ok(graph),
    }
}
