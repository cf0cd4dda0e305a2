use std::path::Path;

use candle_core::Device;
use half::f16;
use kd_core::{Classifier, Mode};
use safetensors::tensor::{Dtype, TensorView};

use super::*;
use crate::testing::{Dots, N_CLASSES, Network};

const N_IMAGES: usize = 5;

/// Logits that say where they belong: 100 view + 10 image + class, in eighths.
fn numbers(n_views: usize) -> Vec<f32> {
    let all = (0..n_views).flat_map(|v| (0..N_IMAGES).map(move |i| 100 * v + 10 * i));
    all.flat_map(|at| (0..N_CLASSES).map(move |k| (at + k) as f32 / 8.0)).collect()
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|z| z.to_le_bytes()).collect()
}

/// A file as `numpy.save` writes it.
fn npy(path: &Path, descr: &str, shape: &[usize], bytes: &[u8]) -> PathBuf {
    let shape: Vec<String> = shape.iter().map(|d| format!("{d}, ")).collect();
    let shape = shape.concat();
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let size = (text.len() as u16).to_le_bytes();
    let file = [b"\x93NUMPY\x01\x00", &size[..], text.as_bytes(), bytes].concat();
    std::fs::write(path, file).unwrap();
    path.into()
}

fn tensors(path: &Path, names: &[&str], bytes: &[u8], list: Option<&str>) -> PathBuf {
    let shape = vec![N_IMAGES, N_CLASSES];
    let view = || TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
    let list = list.map(|list| [("kd.views".to_owned(), list.to_owned())].into());
    let file = safetensors::serialize(names.iter().map(|name| (*name, view())), list).unwrap();
    std::fs::write(path, file).unwrap();
    path.into()
}

fn open(paths: &[PathBuf], lists: &[&str]) -> Result<TeacherLogits> {
    let lists: Vec<String> = lists.iter().map(|list| (*list).into()).collect();
    let of = LogitsOf { source: &Dots::new(N_IMAGES), lists: &lists };
    TeacherLogits::open(paths, Average::Logits, of)
}

/// What `logits` say of the images 4 and 1 in epoch 1, in eighths.
fn of(logits: &TeacherLogits) -> Vec<Vec<f32>> {
    let rows = logits.of(&Dots::new(N_IMAGES), 1, &[4, 1]).unwrap();
    let rows: Vec<Vec<f32>> = rows.to_vec2().unwrap();
    rows.into_iter().map(|row| row.into_iter().map(|z| 8.0 * z).collect()).collect()
}

fn row(first: u16) -> Vec<f32> {
    (first..first + N_CLASSES as u16).map(f32::from).collect()
}

#[test]
fn rows_are_found_by_version_and_image() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let shape = [3, N_IMAGES, N_CLASSES];
    let file = npy(&at("a.npy"), "<f4", &shape, &bytes(&numbers(3)));
    let logits = open(&[file], &[]).unwrap();
    // Epoch 1 shows version (2 + index) % 3.
    assert_eq!(of(&logits), [row(40), row(10)]);
    assert_eq!(of(&logits), [row(40), row(10)]);
    let of_epoch = |epoch| {
        let rows = logits.of(&Dots::new(N_IMAGES), epoch, &[4]).unwrap();
        rows.to_vec2::<f32>().unwrap()[0][0] * 8.0
    };
    assert_eq!([0, 1, 2, 3].map(of_epoch).to_vec(), vec![140.0, 40.0, 240.0, 140.0]);
    let note = &logits.notes()[0];
    assert!(note.contains("does not say which list") && note.contains("kd.views"), "{note}");
}

#[test]
fn numbers_of_other_types_are_converted_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (numbers, shape) = (numbers(1), [N_IMAGES, N_CLASSES]);
    let halves: Vec<u8> = numbers.iter().flat_map(|z| f16::from_f32(*z).to_le_bytes()).collect();
    let doubles: Vec<u8> = numbers.iter().flat_map(|z| f64::from(*z).to_le_bytes()).collect();
    for (descr, bytes, says) in [("<f2", halves, "F16"), ("<f8", doubles, "F64")] {
        let logits = open(&[npy(&at("a.npy"), descr, &shape, &bytes)], &[]).unwrap();
        assert_eq!(of(&logits), [row(40), row(10)], "{descr}");
        assert!(logits.notes()[0].contains(says), "{:?}", logits.notes());
        assert!(logits.notes()[1].contains("the same for all of its versions"));
    }
    let huge: Vec<u8> = numbers.iter().flat_map(|_| 1e300f64.to_le_bytes()).collect();
    let error = open(&[npy(&at("a.npy"), "<f8", &shape, &huge)], &[]).unwrap_err().to_string();
    assert!(error.contains("row 0, class 0 is inf as f32"), "{error}");
}

#[test]
fn a_list_that_a_file_names_must_be_the_trainings() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let bytes = bytes(&numbers(1));
    let named = tensors(&at("a.safetensors"), &["z"], &bytes, Some("d1"));
    let logits = open(std::slice::from_ref(&named), &["d0", "d1"]).unwrap();
    assert_eq!(of(&logits), [row(40), row(10)]);
    assert!(!logits.notes().iter().any(|note| note.contains("does not say")));
    let error = open(&[named], &["d0"]).unwrap_err().to_string();
    let words = "follows the list d1, this training that of digest d0";
    assert!(error.contains(words) && error.contains("`kd data views`"), "{error}");
    let two = tensors(&at("b.safetensors"), &["logits", "z"], &bytes, None);
    assert_eq!(of(&open(&[two], &[]).unwrap()), [row(40), row(10)]);
    let two = tensors(&at("c.safetensors"), &["y", "z"], &bytes, None);
    let error = open(&[two], &[]).unwrap_err().to_string();
    assert!(error.contains("2 tensors, none called `logits`"), "{error}");
}

#[test]
fn files_of_other_images_classes_or_lengths_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let zeros = |n: usize| vec![0u8; 4 * n];
    for (shape, n) in [
        (vec![4, 6], 24),
        (vec![5, 7], 35),
        (vec![2, 5, 6], 60),
        (vec![5, 3, 6], 90),
        (vec![30], 30),
        (vec![1, 1, 5, 6], 30),
    ] {
        let error = open(&[npy(&at("a.npy"), "<f4", &shape, &zeros(n))], &[]).unwrap_err();
        let words = "the 5 training images of 6 classes need (5, 6) or (3, 5, 6): `kd data views`";
        let message = error.to_string();
        assert!(message.contains(words) && message.contains(&format!("{shape:?}")), "{message}");
        assert!(!message.contains('\n'));
    }
    for (shape, n) in [(vec![5, 6], 29), (vec![5, 6], 31), (vec![usize::MAX, 6], 30), (vec![], 1)] {
        let error = open(&[npy(&at("a.npy"), "<f4", &shape, &zeros(n))], &[]).unwrap_err();
        assert!(matches!(error, Error::Parse { .. }), "{error}");
    }
    let mut bad = numbers(1);
    bad[20] = f32::NAN;
    let error = open(&[npy(&at("a.npy"), "<f4", &[5, 6], &bytes(&bad))], &[]).unwrap_err();
    assert!(error.to_string().contains("row 3, class 2 is NaN"), "{error}");
    let whole = tensors(&at("a.safetensors"), &["z"], &bytes(&numbers(1)), None);
    let good = std::fs::read(&whole).unwrap();
    for n in 0..good.len() {
        std::fs::write(&whole, &good[..n]).unwrap();
        assert!(matches!(open(std::slice::from_ref(&whole), &[]), Err(Error::Parse { .. })), "{n}");
    }
    assert!(matches!(open(&[at("none.npy")], &[]), Err(Error::Missing { .. })));
    std::fs::write(at("text.npy"), "0.1 0.2").unwrap();
    let error = open(&[at("text.npy")], &[]).unwrap_err().to_string();
    assert!(error.contains("not a .npy file"), "{error}");
}

#[test]
fn several_files_are_averaged() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let one = npy(&at("a.npy"), "<f4", &[3, N_IMAGES, N_CLASSES], &bytes(&numbers(3)));
    let two = npy(&at("b.npy"), "<f4", &[N_IMAGES, N_CLASSES], &bytes(&[1.0; 30]));
    let mean = of(&open(&[one, two], &[]).unwrap());
    let want = |row: Vec<f32>| -> Vec<f32> { row.iter().map(|z| (z + 8.0) / 2.0).collect() };
    assert_eq!(mean, [want(row(40)), want(row(10))]);
}

#[test]
fn a_file_of_a_networks_logits_agrees_with_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let (source, network) = (Dots::new(N_IMAGES), Network::new(3));
    let all = source.batch(0, &[0, 1, 2, 3, 4]).unwrap();
    let said = network.forward(&all.images, Mode::Eval).unwrap().to_vec2::<f32>().unwrap();
    let path = folder.path().join("a.npy");
    let file = npy(&path, "<f4", &[N_IMAGES, N_CLASSES], &bytes(&said.concat()));
    let logits = open(&[file], &[]).unwrap();
    assert_eq!(logits.of(&source, 0, &[0, 1, 2, 3, 4]).unwrap().to_vec2::<f32>().unwrap(), said);
    let best: Vec<u32> = said.iter().map(|row| argmax(row) as u32).collect();
    let agreement = |labels: &[u32]| logits.agreement(labels).unwrap();
    assert!((agreement(&best) - 1.0).abs() < 1e-12);
    let wrong: Vec<u32> = best.iter().map(|k| (k + 1) % 6).collect();
    assert!((agreement(&[&best[..2], &wrong[2..]].concat()) - 0.4).abs() < 1e-12);
    assert_eq!(logits.of(&source, 0, &[]).unwrap().dims(), [0, 6]);
    assert!(matches!(source.device(), Device::Cpu));
}
