use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use image::{Rgb, RgbImage};
use kd_core::checkpoint::Description;
use kd_core::{Classifier, Net, Stream};
use kd_data::OnBadImage;
use kd_models::ModelSpec;
use kd_models::weights::{Naming, save_network};
use kd_report::Card;
use kd_suite::{NetworkFile, Predictor, pictures};

use crate::{Order, StudentKind, Teacher, ship};

/// Pictures that are red, green or blue, and noisy.
fn photographs(at: &Path, classes: &[&str], n: u64) {
    for (label, class) in classes.iter().enumerate() {
        fs::create_dir_all(at.join(class)).unwrap();
        for i in 0..n {
            let mut rng = Stream::new(label as u64).number(i).rng();
            let picture = RgbImage::from_fn(40, 36, |_, _| {
                Rgb([0, 1, 2].map(|c| {
                    let level = if c == label { 170.0 } else { 90.0 };
                    (level + 50.0 * rng.normal()).clamp(0.0, 255.0) as u8
                }))
            });
            picture.save(at.join(class).join(format!("{i:02}.png"))).unwrap();
        }
    }
}

/// A network that has learned nothing, of five classes.
fn teacher(path: &Path) {
    let model = ModelSpec::from_name("resnet8").unwrap();
    let graph = model.as_dyn().graph([3, 32, 32], 5).unwrap();
    let graph = graph.normalized(&[0.4; 3], &[0.2; 3]).unwrap();
    let net = Net::new(graph.clone(), Stream::new(1), &Device::Cpu).unwrap();
    save_network(path, &net.params().tensors(), &Description::new("resnet8", graph)).unwrap();
}

fn order(at: &Path, students: &[&str]) -> Order {
    let path = at.join("teacher.safetensors");
    let network = NetworkFile { path, model: None, naming: Naming::default() };
    Order {
        images: at.join("images"),
        on_bad_image: OnBadImage::Error,
        teacher: Teacher { network, normalize: None, is_tuned: false },
        students: students.iter().map(|text| text.parse::<StudentKind>().unwrap()).collect(),
        minutes: 0.01,
        seeds: 1,
        flip: true,
        out: at.join("out"),
    }
}

fn shipped(order: &Order) -> Card {
    ship(order, &Arc::new(AtomicBool::new(false))).unwrap().unwrap()
}

/// Everything but times.
fn timeless(card: Card) -> Card {
    let mut card = card;
    for network in [&mut card.teacher, &mut card.student] {
        network.latency.clear();
    }
    card
}

#[test]
fn photographs_become_a_network_with_its_card_and_once_more_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    photographs(&at.join("images"), &["blue", "green", "red"], 30);
    teacher(&at.join("teacher.safetensors"));
    let order = order(at, &["shrink:2", "cut:1/2"]);
    let stopped = ship(&order, &Arc::new(AtomicBool::new(true))).unwrap();
    assert!(stopped.is_none(), "interrupted before the first step");
    let card = shipped(&order);
    assert_eq!((card.student.evaluation.total, card.tried.len()), (18, 12));
    assert_eq!(card.tried.iter().filter(|tried| tried.chosen).count(), 1);
    assert!(card.student.multiply_adds * 2 <= card.teacher.multiply_adds);
    let right = card.student.evaluation.correct;
    assert!(right > 9, "{right} of 18 where a third is chance");
    let out = &order.out;
    for name in
        ["model.onnx", "model.safetensors", "labels.txt", "config.json", "report.html", "card.md"]
    {
        assert!(out.join(name).is_file(), "{name}");
    }
    assert_eq!(fs::read_to_string(out.join("labels.txt")).unwrap(), "blue\ngreen\nred\n");
    let files = pictures(&at.join("images/red").display().to_string()).unwrap();
    for model in ["model.onnx", "model.safetensors"] {
        let said = Predictor::open(&out.join(model), None).unwrap().predict(&files[..3], 3);
        let names = said[0].as_ref().unwrap().classes.iter().map(|likely| likely.class.as_str());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        assert_eq!(names, ["blue", "green", "red"], "{model}");
    }
    let log = |suite: &str| fs::read(out.join("work").join(suite).join("metrics.jsonl")).unwrap();
    let before = log("student");
    assert_eq!(timeless(shipped(&order)), timeless(card));
    assert_eq!(log("student"), before, "nothing is trained twice");
}

#[test]
fn orders_that_cannot_be_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    teacher(&at.join("teacher.safetensors"));
    let refused = |order: &Order| {
        let error = ship(order, &Arc::new(AtomicBool::new(false))).unwrap_err();
        error.to_string()
    };
    let order = |name: &str| Order {
        out: at.join(format!("out-{name}")),
        images: at.join(name),
        ..order(at, &["shrink:2"])
    };
    photographs(&at.join("one"), &["red"], 60);
    assert!(refused(&order("one")).contains("one class"), "{}", refused(&order("one")));
    photographs(&at.join("few"), &["blue", "red"], 3);
    let few = refused(&order("few"));
    assert!(few.contains("10 are the fewest"), "{few}");
    photographs(&at.join("good"), &["blue", "red"], 60);
    let good = order("good");
    let tuned = Teacher { is_tuned: true, ..good.teacher.clone() };
    let other_classes = refused(&Order { teacher: tuned, ..good.clone() });
    assert!(other_classes.contains("5 classes apart, the images have 2"), "{other_classes}");
    let twice =
        Order { students: [&good.students[..], &good.students[..]].concat(), ..good.clone() };
    assert!(refused(&twice).contains("named twice"));
    let other = refused(&Order { minutes: 0.02, ..good.clone() });
    assert!(other.contains("holds another order"), "{other}");
    assert!(refused(&Order { minutes: f64::NAN, ..good.clone() }).contains("no time"));
    assert!(refused(&Order { seeds: 0, ..good }).contains("seeds"));
}
