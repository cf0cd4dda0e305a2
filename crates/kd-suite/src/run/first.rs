//! The weights that a training begins with.

use kd_core::ops::Normalize;
use kd_core::{Classifier, Error, Graph, Net, Result, Stream};
use kd_models::{ModelSpec, Weights, head, take_over};

use super::context::Context;
use crate::suite::{InitWeights, TrainingSpec};
use crate::weights::{self, Loaded, Wanted};

/// Those of an earlier training or of a file; nothing where they are drawn.
pub(super) fn weights(
    context: &Context<'_>,
    training: &TrainingSpec,
    seed: u64,
) -> Result<Option<Weights>> {
    match (&training.init, &training.init_weights) {
        (Some(source), _) => Ok(Some(context.trained(source, seed)?.params().tensors())),
        (None, Some(file)) => {
            let drawn = context.network(&training.model, Stream::new(seed).at("init"))?;
            let (first, _) = of_file(file, &training.model, &drawn, &context.spec.normalize)?;
            Ok(Some(first))
        }
        (None, None) => Ok(None),
    }
}

/// The tensors of `file` for `net`, the network of `model`, and what is to be said of them. Its head is
/// its own where the file's is of another number of classes.
///
/// # Errors
/// [`Error::Config`] when anything else is missing or of another shape, and when the network in the file
/// normalizes its images in another way; those of the file.
pub(super) fn of_file(
    file: &InitWeights,
    model: &ModelSpec,
    net: &Net,
    normalize: &Normalize,
) -> Result<(Weights, String)> {
    let wanted = wanted(file, model, net.graph().image_shape, normalize);
    let Loaded { network: known, .. } =
        weights::load(&file.path, &wanted, &candle_core::Device::Cpu)?;
    check_normalize(file, known.graph(), net.graph())?;
    let mut first = net.params().tensors();
    let fresh = take_over(&mut first, &known.params().tensors());
    let (n, path, head) = (net.n_classes(), file.path.display(), &head(net.graph())?.name);
    let in_head = format!("{head}.");
    if let Some(name) = fresh.iter().find(|name| !name.starts_with(&in_head)) {
        let dims = first[name].dims();
        let reason =
            format!("{path} lacks `{name}` of {dims:?}, which is no part of the head `{head}`");
        return Err(Error::config("init", reason));
    }
    let note = match !fresh.is_empty() {
        true => format!(
            "begins with the weights of {path}; its head `{head}` is new, for {n} classes in place of {}",
            known.n_classes()
        ),
        false => {
            format!("begins with the weights of {path}, its head `{head}` for {n} classes too")
        }
    };
    Ok((first, note))
}

/// What of `file` is wanted for such images.
pub(super) fn wanted<'a>(
    file: &'a InitWeights,
    model: &'a ModelSpec,
    image_shape: [usize; 3],
    normalize: &'a Normalize,
) -> Wanted<'a> {
    Wanted {
        model: Some(model),
        image_shape: Some(image_shape),
        naming: Some(&file.naming),
        default_normalize: Some(normalize),
        only_weights: true,
        ..Wanted::default()
    }
}

/// Refuses weights for images that are normalized in another way: they would begin far from what they
/// were.
fn check_normalize(file: &InitWeights, theirs: &Graph, ours: &Graph) -> Result<()> {
    if theirs.normalization() == ours.normalization() {
        return Ok(());
    }
    let words = |graph: &Graph| weights::normalization(graph);
    let reason = format!(
        "the network of {} was trained with {}, this one would be with {}; give the former (--mean and \
         --std, in a suite `normalize`)",
        file.path.display(),
        words(theirs),
        words(ours)
    );
    Err(Error::config("normalize", reason))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use kd_core::checkpoint::Description;
    use kd_models::weights::{Naming, save_network, save_safetensors};

    use super::*;

    fn model() -> ModelSpec {
        ModelSpec::from_name("resnet8").unwrap()
    }

    fn resnet8(n_classes: usize, seed: u64, mean: f32) -> Net {
        let graph = model().as_dyn().graph([3, 32, 32], n_classes).unwrap();
        let graph = graph.normalized(&[mean; 3], &[0.25; 3]).unwrap();
        Net::new(graph, Stream::new(seed), &Device::Cpu).unwrap()
    }

    fn values(weights: &Weights, name: &str) -> Vec<f32> {
        weights[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    /// A file of kd's, and one that says nothing but names.
    fn files(net: &Net, at: &std::path::Path) -> [InitWeights; 2] {
        let tensors = net.params().tensors();
        let [known, plain] = ["known.safetensors", "plain.safetensors"].map(|name| at.join(name));
        let (name, graph) = ("resnet8", net.graph().clone());
        save_network(&known, &tensors, &Description::new(name, graph)).unwrap();
        save_safetensors(&plain, &tensors).unwrap();
        [known, plain].map(|path| InitWeights {
            path,
            sha256: String::new(),
            naming: Naming::default(),
        })
    }

    #[test]
    fn a_head_of_other_classes_is_new_and_all_else_is_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, ours) = (resnet8(7, 1, 0.5), resnet8(3, 2, 0.5));
        for file in files(&theirs, folder.path()) {
            let normalize = ours.graph().normalization().unwrap();
            let (first, note) = of_file(&file, &model(), &ours, normalize).unwrap();
            assert!(note.contains("`linear` is new, for 3 classes in place of 7"), "{note}");
            let (old, fresh) = (theirs.params().tensors(), ours.params().tensors());
            for name in first.keys() {
                let want = if name.starts_with("linear.") { &fresh } else { &old };
                assert_eq!(values(&first, name), values(want, name), "{name}");
            }
        }
    }

    #[test]
    fn a_head_of_as_many_classes_comes_along() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, ours) = (resnet8(3, 1, 0.5), resnet8(3, 2, 0.5));
        for file in files(&theirs, folder.path()) {
            let normalize = ours.graph().normalization().unwrap();
            let (first, note) = of_file(&file, &model(), &ours, normalize).unwrap();
            assert!(note.ends_with("its head `linear` for 3 classes too"), "{note}");
            assert_eq!(
                values(&first, "linear.weight"),
                values(&theirs.params().tensors(), "linear.weight")
            );
        }
    }

    #[test]
    fn another_network_and_another_normalization_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, ours) = (resnet8(7, 1, 0.5), resnet8(3, 2, 0.4));
        let [known, plain] = files(&theirs, folder.path());
        let normalize = ours.graph().normalization().unwrap();
        let error = of_file(&known, &model(), &ours, normalize).unwrap_err().to_string();
        assert!(
            error.contains("mean 0.5,0.5,0.5") && error.contains("mean 0.4,0.4,0.4"),
            "{error}"
        );
        let other = ModelSpec::from_name("resnet14").unwrap();
        let graph = other.as_dyn().graph([3, 32, 32], 3).unwrap();
        let other_net = Net::new(graph, Stream::new(1), &Device::Cpu).unwrap();
        assert!(of_file(&known, &other, &other_net, normalize).is_err());
        assert!(of_file(&plain, &other, &other_net, normalize).is_err());
    }
}
