//! Checkpoints as people have them (`tests/golden/checkpoints`): each gives the right numbers, or says what
//! it is and what to do.

use std::path::PathBuf;

use candle_core::Device;

use super::*;

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../tests/golden/checkpoints", name].iter().collect()
}

fn wanted() -> Shapes {
    let shapes: [(&str, &[usize]); 4] =
        [("fc1.weight", &[3, 4]), ("fc1.bias", &[3]), ("fc2.weight", &[2, 3]), ("fc2.bias", &[2])];
    shapes.map(|(name, shape)| (name.to_owned(), shape.to_vec())).into()
}

/// Quarters from `first` on.
fn quarters(n: usize, first: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 + first) / 4.0).collect()
}

/// The numbers of every file, but for what is expanded.
fn state() -> BTreeMap<String, Vec<f32>> {
    let numbers = [
        ("fc1.weight", quarters(12, 0.0)),
        ("fc1.bias", quarters(3, -5.0)),
        ("fc2.weight", quarters(6, 20.0)),
        ("fc2.bias", quarters(2, 7.0)),
    ];
    numbers.map(|(name, numbers)| (name.to_owned(), numbers)).into()
}

/// The numbers that a file has for the network, and what it says of them.
fn load(name: &str, naming: &Naming) -> Result<(BTreeMap<String, Vec<f32>>, String)> {
    let file = WeightsFile::open(&golden(name))?;
    let wanted = wanted();
    let fit = file.fit(naming, &wanted)?;
    let numbers = fit
        .read(&Device::Cpu)?
        .into_iter()
        .map(|(name, tensor)| (name, tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()));
    Ok((numbers.collect(), fit.notes().join("; ")))
}

fn naming(key: &str, prefix: &str) -> Naming {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Naming { key: given(key), prefix: given(prefix), ..Naming::default() }
}

/// Why a file is refused: in one line.
fn refusal(name: &str, naming: &Naming) -> String {
    let error = load(name, naming).map(|(_, notes)| notes).unwrap_err();
    assert!(matches!(error, Error::Parse { .. } | Error::Config { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(name), "{message} does not name {name}");
    assert!(!message.contains('\n') && message.len() < 700, "{message}");
    message
}

#[test]
fn weights_are_found_beside_whatever_was_saved_with_them() {
    let beside = "takes the tensors of `state_dict`";
    for (name, says) in [
        ("plain.pth", ""),
        ("objects.pth", beside),
        ("protocol-4.pth", beside),
        ("legacy-1.pth", beside),
        ("legacy-2.pth", beside),
        ("legacy-4.pth", beside),
        ("legacy-5.pth", beside),
        ("scheduler.pth", "takes the tensors of `model`"),
        ("flat.pth", "3 passed over: epoch (int 3), n_averaged (i64 []), note (text \"beside\")"),
        ("elsewhere.pth", "takes the tensors of `runs.best.weights of 1.5`"),
        ("unsigned.pth", "takes the tensors of `model`"),
        ("complex-legacy.pth", "takes the tensors of `model`"),
    ] {
        let (numbers, notes) = load(name, &Naming::default()).unwrap();
        assert_eq!(numbers, state(), "{name}");
        assert!(notes.contains(says) && notes.is_empty() == says.is_empty(), "{name}: {notes}");
    }
}

#[test]
fn objects_are_listed_by_their_names() {
    for name in ["objects.pth", "protocol-4.pth", "legacy-2.pth", "legacy-5.pth"] {
        let list: BTreeMap<_, _> =
            WeightsFile::open(&golden(name)).unwrap().list().into_iter().collect();
        for (path, kind) in [
            ("args", "object argparse.Namespace, not loaded"),
            ("config", "object __main__.Config, not loaded"),
            ("slots", "object __main__.Slots, not loaded"),
            ("stage", "object __main__.Stage, not loaded"),
            ("partial", "object functools.partial, not loaded"),
            ("counter.3", "int 2"),
            ("default.a", "list of 2"),
            ("large", "large integer"),
            ("dtype", "torch.float16"),
            ("size", "tuple of 2"),
            ("function", "name __main__.numbers, not loaded"),
            ("class", "name __main__.Network, not loaded"),
            ("rng", "u8 [8]"),
            ("keys.7", "int 7"),
            ("complex tensor", "complex64 [2]"),
            ("words", "list of 2"),
            ("text", "text \"Grüße\\n\""),
            ("state_dict.fc1.weight", "f32 [3, 4]"),
        ] {
            assert_eq!(list.get(path).map(String::as_str), Some(kind), "{name}: {path}");
        }
        // Before protocol 4, what has arguments with names is made by a `partial`.
        let class = if name.ends_with("2.pth") || name == "objects.pth" {
            "functools.partial"
        } else {
            "__main__.NewArguments"
        };
        assert_eq!(list["new"], format!("object {class}, not loaded"), "{name}");
    }
}

#[test]
fn what_is_like_a_dictionary_and_attributes_are_walked_into() {
    let (numbers, notes) = load("held.pth", &Naming::default()).unwrap();
    assert_eq!(numbers, state());
    assert_eq!(notes, "takes the tensors of `best.net`; there are others, for --key: `run.last`");
    assert_eq!(load("held.pth", &naming("run.last", "")).unwrap().0, state());
    let list: BTreeMap<_, _> =
        WeightsFile::open(&golden("held.pth")).unwrap().list().into_iter().collect();
    for (path, kind) in [
        ("args", "object argparse.Namespace, not loaded"),
        ("best.epoch", "int 3"),
        ("run.last.fc1.bias", "f32 [3]"),
        ("run.itself", "object argparse.Namespace, not loaded"),
    ] {
        assert_eq!(list.get(path).map(String::as_str), Some(kind), "{path}");
    }
}

#[test]
fn names_of_classes_are_found_beside_the_weights() {
    let file = WeightsFile::open(&golden("named.pth")).unwrap();
    for (n, names) in [(2, &["cat", "dog"][..]), (3, &["a", "b", "c"]), (4, &["a", "b", "c", "d"])]
    {
        assert_eq!(file.class_names(n), names);
    }
    assert!(file.class_names(5).is_empty());
    let list: BTreeMap<_, _> = file.list().into_iter().collect();
    assert_eq!(list["data.class_to_idx"], "names of 4 classes (a, b, c, ...)");
    assert_eq!(list["labels"], "list of 2");
}

#[test]
fn views_give_the_numbers_that_they_show() {
    for name in ["transposed.pth", "negative.pth", "parameters.pth", "subclass.pth", "halves.pth"] {
        assert_eq!(load(name, &Naming::default()).unwrap().0, state(), "{name}");
    }
    let mut expanded = state();
    expanded.insert("fc1.bias".into(), vec![1.5; 3]);
    assert_eq!(load("expanded.pth", &Naming::default()).unwrap().0, expanded);
}

#[test]
fn archives_that_were_zipped_anew_are_read() {
    for name in ["deflated.pth", "no-folder.pth", "deep-folder.pth"] {
        assert_eq!(load(name, &Naming::default()).unwrap().0, state(), "{name}");
    }
}

#[test]
fn prefixes_that_the_network_lacks_are_taken_away_and_said() {
    for (name, prefix) in
        [("compiled.pth", "_orig_mod."), ("prefixes.pth", "module._orig_mod.model.")]
    {
        for given in ["", prefix] {
            let (numbers, notes) = load(name, &naming("", given)).unwrap();
            assert_eq!(numbers, state(), "{name}");
            assert!(notes.contains(&format!("`{prefix}` is taken away")), "{notes}");
        }
        let message = refusal(name, &naming("", "net."));
        assert!(message.contains("no name starts with `net.`; the first is "), "{message}");
    }
}

#[test]
fn of_two_dictionaries_the_usual_one_is_taken_and_the_other_named() {
    let (numbers, notes) = load("reference.pth", &Naming::default()).unwrap();
    let worse: BTreeMap<_, _> = state()
        .into_iter()
        .map(|(name, numbers)| (name, numbers.into_iter().map(|x| -x).collect::<Vec<_>>()))
        .collect();
    assert_eq!(numbers, worse);
    assert_eq!(notes, "takes the tensors of `model`; there are others, for --key: `model_ema`");
    for prefix in ["", "module."] {
        let (numbers, notes) = load("reference.pth", &naming("model_ema", prefix)).unwrap();
        assert_eq!(numbers, state());
        assert_eq!(
            notes,
            "takes the tensors of `model_ema`; `module.` is taken away from before the names; 1 \
             passed over: n_averaged (i64 [])"
        );
    }
    let message = refusal("reference.pth", &naming("model_em", ""));
    assert!(message.contains("no dictionary `model_em`; the file has: "), "{message}");
}

#[test]
fn one_network_of_several_is_chosen_by_its_prefix() {
    let (numbers, notes) = load("lightning.pth", &naming("", "model.student.")).unwrap();
    assert_eq!(numbers, state());
    assert!(notes.contains("5 passed over: loss.temperature (f32 []), model.teacher."), "{notes}");
    let message = refusal("lightning.pth", &Naming::default());
    let advice = "all of it is there with --strip-prefix model.student., model.teacher.";
    assert!(message.contains(advice), "{message}");
}

#[test]
fn another_head_is_named_with_both_shapes() {
    let message = refusal("head.pth", &Naming::default());
    for words in ["fc2.weight: f32 [5, 3], expected [2, 3]", "fc2.bias: f32 [5], expected [2]"] {
        assert!(message.contains(words), "{message}");
    }
    let wanted = wanted();
    let file = WeightsFile::open(&golden("head.pth")).unwrap();
    assert_eq!(file.fit(&Naming::default(), &wanted).unwrap().other_classes(), Some(5));
    let file = WeightsFile::open(&golden("plain.pth")).unwrap();
    assert_eq!(file.fit(&Naming::default(), &wanted).unwrap().other_classes(), None);
}

#[test]
fn what_cannot_be_weights_is_named_with_what_to_do() {
    for (name, words) in [
        ("object-within.pth", "no weights (fc1.bias: object __main__.Config, not loaded)"),
        ("sparse.pth", "fc1.weight: sparse tensor; save tensor.to_dense()"),
        ("quantized.pth", "fc1.weight: quantized tensor; save tensor.dequantize()"),
        ("f8.pth", "fc1.weight: f8 [3, 4]; save tensor.float()"),
        ("complex.pth", "fc1.bias: complex64 [3]; networks here have real weights"),
        ("meta.pth", "fc1.weight: meta tensor, without numbers"),
        ("nested-tensor.pth", "fc1.weight: nested tensor"),
        ("numpy.pth", "fc1.weight: object numpy._core.multiarray._reconstruct, not loaded"),
        ("module.pth", "it is a whole network (__main__.Network) with its code"),
        ("module-legacy.pth", "it is a whole network (__main__.Network) with its code"),
        ("module-within.pth", "`model` is a whole network (__main__.Network) with its code"),
        ("legacy-0.pth", "pickle protocol 0 cannot refer to"),
        ("torchscript.pt", "a TorchScript archive, which is a program; in Python, torch.save("),
        ("zip-within.pth", "a zip archive that holds `net/model.pth`; unpack it"),
        ("arrays.npz", "a NumPy archive (.npz)"),
    ] {
        let message = refusal(name, &Naming::default());
        assert!(message.contains(words), "{name}: {message}");
    }
}
