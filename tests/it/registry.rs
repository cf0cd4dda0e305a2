//! What holds for every network, objective and data set, the ones to come included.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use candle_core::{Device, Tensor, Var};
use kd_core::testing::{random, relative_error};
use kd_core::{BatchSource, Classifier, Error, Mode, Stream, checkpoint};
use kd_data::{Augment, DataSpec, Loader, Splits, SyntheticDigits, SyntheticObjects};
use kd_models::ModelSpec;
use kd_train::{Loss, LossInput, LossSpec, View};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::support::{N_CLASSES, bits, build, networks, weight_bits};

fn images() -> Tensor {
    random(Stream::new(7), &[16, 1, 28, 28])
}

fn labels(n: u32) -> Tensor {
    Tensor::new((0..n).map(|i| i % N_CLASSES as u32).collect::<Vec<_>>(), &Device::Cpu).unwrap()
}

/// One backward pass through a training step.
fn backward(network: &dyn Classifier) {
    let logits = network.forward(&images(), Mode::Train(Stream::new(3))).unwrap();
    kd_core::ops::cross_entropy(&logits, &labels(16), 0.0).unwrap().backward().unwrap();
}

#[test]
fn every_network_maps_images_to_logits() {
    for spec in networks() {
        let network = build(&spec, 1);
        assert_eq!(network.n_classes(), N_CLASSES);
        for n in [1, 16] {
            let logits = network.forward(&images().narrow(0, 0, n).unwrap(), Mode::Eval).unwrap();
            assert_eq!(logits.dims(), [n, N_CLASSES], "{}", spec.name());
        }
        let wrong = random(Stream::new(7), &[2, 1, 28, 27]);
        let error = network.forward(&wrong, Mode::Eval).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{}: {error}", spec.name());
    }
}

#[test]
fn every_parameter_of_every_network_learns() {
    for spec in networks() {
        let network = build(&spec, 1);
        backward(&*network);
        for (name, param) in network.params().iter() {
            let at = format!("{} of {}", name, spec.name());
            let grad = param.grad().get().unwrap_or_else(|| panic!("{at} has no gradient"));
            assert_eq!(grad.dims(), param.var().dims(), "{at}");
            let values = grad.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(values.iter().all(|g| g.is_finite()), "{at}: not finite");
            assert!(values.iter().any(|g| *g != 0.0), "{at}: all zero");
        }
    }
}

#[test]
fn names_of_parameters_are_unique_and_counted() {
    for spec in networks() {
        let network = build(&spec, 1);
        let names: BTreeSet<&str> = network.params().iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), network.params().iter().count(), "{}", spec.name());
        let n: usize = network.params().iter().map(|(_, p)| p.var().elem_count()).sum();
        assert_eq!(n, network.params().n_elements());
    }
}

#[test]
fn every_network_is_the_same_after_save_and_load() {
    for spec in networks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let network = build(&spec, 1);
        // A step, for running statistics that no other network has.
        backward(&*network);
        checkpoint::save(&path, &network.params().tensors(), &spec).unwrap();
        let (tensors, read) = checkpoint::load::<ModelSpec>(&path, &Device::Cpu).unwrap();
        assert_eq!(read, spec);
        let loaded = build(&read, 2);
        assert_ne!(weight_bits(&*loaded), weight_bits(&*network));
        loaded.params().load(&tensors).unwrap();
        let logits = |n: &dyn Classifier| bits(&n.forward(&images(), Mode::Eval).unwrap());
        assert_eq!(logits(&*loaded), logits(&*network), "{}", spec.name());
    }
}

#[test]
fn one_seed_gives_every_network_the_same_bits() {
    for spec in networks() {
        let step = |seed| {
            let network = build(&spec, 1);
            let mode = Mode::Train(Stream::new(seed));
            (weight_bits(&*network), bits(&network.forward(&images(), mode).unwrap()))
        };
        assert_eq!(step(5), step(5), "{}", spec.name());
    }
}

#[test]
fn evaluation_is_deterministic_and_leaves_no_gradient() {
    for spec in networks() {
        let network = build(&spec, 1);
        let images = Var::from_tensor(&images()).unwrap();
        let logits = || network.forward(&images, Mode::Eval).unwrap();
        assert_eq!(bits(&logits()), bits(&logits()), "{}", spec.name());
        let grads = logits().sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let input = grads.get(&images).expect("attacks need the gradient of the images");
        assert!(bits(input).iter().any(|&b| b != 0), "{}", spec.name());
        for (name, param) in network.params().iter() {
            assert!(param.grad().get().is_none(), "{name} of {}", spec.name());
        }
    }
}

#[test]
fn every_network_names_its_features() {
    for spec in networks() {
        let network = build(&spec, 1);
        let names = network.tap_names();
        let taps: Vec<&str> = names.iter().map(String::as_str).collect();
        let (logits, features) = network.forward_with_taps(&images(), Mode::Eval, &taps).unwrap();
        // What is asked for is not joined with what follows: other roundings.
        let plain = network.forward(&images(), Mode::Eval).unwrap();
        assert!(relative_error(&logits, &plain) < 1e-5, "{}", spec.name());
        assert!(!features.is_empty(), "{}", spec.name());
        assert!(features.values().all(|feature| feature.dims()[0] == 16), "{}", spec.name());
    }
}

#[test]
fn the_gradient_of_every_objective_flows_to_the_students_logits_alone() {
    for spec in LossSpec::all() {
        let var = |seed| Var::from_tensor(&random(Stream::new(seed), &[8, N_CLASSES])).unwrap();
        let (logits, teacher) = (var(1), var(2));
        let (labels, taps, theirs) = (labels(8), parts(&spec, 3), parts(&spec, 4));
        let view = random(Stream::new(5), &[8, N_CLASSES]);
        let views = [View { logits: view, teacher_logits: Some(teacher.as_tensor().clone()) }];
        let input = LossInput {
            teacher_logits: Some(&teacher),
            taps: &taps,
            teacher_taps: &theirs,
            views: &views,
            indices: &[7, 6, 5, 4, 3, 2, 1, 0],
            n_samples: 8,
            ..LossInput::new(&logits, &labels)
        };
        let own = spec.own_params(&input).unwrap();
        let loss = spec.as_dyn().loss(&LossInput { own: &own, ..input }).unwrap();
        assert!(loss.to_scalar::<f32>().unwrap().is_finite(), "{}", spec.name());
        let grads = loss.backward().unwrap();
        let grad = grads.get(&logits).expect("a gradient").flatten_all().unwrap();
        let grad = grad.to_vec1::<f32>().unwrap();
        assert!(grad.iter().all(|g| g.is_finite()) && grad.iter().any(|g| *g != 0.0));
        assert!(grads.get(&teacher).is_none(), "{} moves the teacher", spec.name());
    }
}

/// Something for the parts of networks that an objective asks for.
fn parts(spec: &LossSpec, seed: u64) -> BTreeMap<String, Tensor> {
    let names = [spec.as_dyn().taps(), spec.as_dyn().teacher_taps()].concat();
    names.into_iter().map(|name| (name, random(Stream::new(seed), &[8, 4]))).collect()
}

#[test]
fn an_objective_without_its_teacher_says_so() {
    let (logits, labels) = (random(Stream::new(1), &[8, N_CLASSES]), labels(8));
    let views = [View { logits: logits.clone(), teacher_logits: None }];
    for spec in LossSpec::all() {
        let taps = parts(&spec, 3);
        let input = LossInput { taps: &taps, views: &views, ..LossInput::new(&logits, &labels) };
        let own = spec.own_params(&input);
        match own.and_then(|own| spec.loss(&LossInput { own: &own, ..input })) {
            Ok(_) => assert!(!spec.needs_teacher(), "{}", spec.name()),
            Err(error) => {
                assert!(spec.needs_teacher(), "{}: {error}", spec.name());
                assert!(matches!(&error, Error::Config { .. }), "{}: {error}", spec.name());
                assert!(error.to_string().contains("teacher"), "{}: {error}", spec.name());
            }
        }
    }
}

#[test]
fn every_entry_survives_toml_and_json_and_refuses_unknown_keys() {
    every_entry_is_read_strictly(&ModelSpec::all(), ModelSpec::NAMES);
    every_entry_is_read_strictly(&LossSpec::all(), LossSpec::NAMES);
    every_entry_is_read_strictly(&DataSpec::all(), DataSpec::NAMES);
}

fn every_entry_is_read_strictly<T>(all: &[T], names: &[&str])
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    assert_eq!(all.len(), names.len());
    for (entry, name) in all.iter().zip(names) {
        let text = toml::to_string(entry).unwrap();
        assert_eq!(&toml::from_str::<T>(&text).unwrap(), entry);
        let json = serde_json::to_value(entry).unwrap();
        assert_eq!(&serde_json::from_value::<T>(json.clone()).unwrap(), entry);
        assert_eq!(json["kind"], *name);
        let error = toml::from_str::<T>(&format!("no_such_key = 1\n{text}")).unwrap_err();
        let message = error.message();
        assert!(message.contains("no_such_key"), "{name}: {message}");
        let Value::Object(keys) = json else { panic!("{name} is no table") };
        for key in keys.keys().filter(|key| *key != "kind") {
            assert!(message.contains(&format!("`{key}`")), "{name}: {key} not in: {message}");
        }
    }
    let error = toml::from_str::<T>("kind = \"no-such-kind\"").unwrap_err();
    assert!(names.iter().all(|name| error.message().contains(name)), "{}", error.message());
}

/// A small version of every data set that needs no files.
fn synthetic() -> Vec<(&'static str, Splits)> {
    let small = |spec: DataSpec| match spec {
        DataSpec::SyntheticDigits(digits) => {
            let small = SyntheticDigits { n_train: 130, n_test: 20, ..digits };
            Some(DataSpec::SyntheticDigits(small))
        }
        DataSpec::SyntheticObjects(objects) => {
            let small = SyntheticObjects { n_train: 130, n_test: 20, ..objects };
            Some(DataSpec::SyntheticObjects(small))
        }
        other => other.as_dyn().is_synthetic().then_some(other),
    };
    let load = |spec: DataSpec| (spec.name(), spec.as_dyn().load(None).unwrap());
    DataSpec::all().into_iter().filter_map(small).map(load).collect()
}

#[test]
fn every_synthetic_set_has_labels_in_range_and_the_same_content_each_time() {
    let again = synthetic();
    for ((name, splits), (_, other)) in synthetic().into_iter().zip(again) {
        assert_eq!(splits, other, "{name}");
        assert!(!splits.official, "{name}");
        assert_ne!(splits.train.pixels(), splits.test.pixels());
        for part in [&splits.train, &splits.test] {
            let size: usize = part.shape().iter().product();
            assert_eq!(part.pixels().len(), part.len() * size, "{name}");
            assert!(part.labels().iter().all(|&label| (label as usize) < part.n_classes()));
            assert!(!part.files().is_empty(), "{name} has no digests");
        }
    }
}

#[test]
fn an_epoch_over_every_synthetic_set_visits_each_image_once() {
    for (name, splits) in synthetic() {
        assert_eq!(splits.train.class_names().len(), splits.train.n_classes(), "{name}");
        assert_eq!(splits.train.class_names(), splits.test.class_names(), "{name}");
        let images = Arc::new(splits.train);
        let (n, shape) = (images.len(), images.shape());
        let loader = Loader::new(images, Augment::default(), Stream::new(1)).unwrap();
        let mut seen = Vec::new();
        for indices in loader.order(0).chunks(32) {
            let batch = loader.batch(0, indices).unwrap();
            assert_eq!(batch.images.dims()[1..], shape, "{name}");
            seen.extend(batch.indices);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..n as u32).collect::<Vec<_>>(), "{name}");
    }
}
