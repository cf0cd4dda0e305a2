//! Files that PyTorch wrote (`tests/golden/weights`), damaged ones and hostile ones.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::LazyLock;

use candle_core::{DType, Device, Tensor};
use kd_core::Error;
use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use super::*;

const FILES: [&str; 5] =
    ["plain-zip.pt", "plain-legacy.pt", "nested-zip.pt", "nested-legacy.pt", "plain.safetensors"];

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../tests/golden/weights", name].iter().collect()
}

/// What the golden files hold: names, and shapes with values.
fn expected() -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let json: Value = serde_json::from_slice(&fs::read(golden("weights.json")).unwrap()).unwrap();
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let tensors = json["tensors"].as_object().unwrap().iter();
    let floats = tensors.filter(|(name, _)| !name.ends_with(fit::N_BATCHES));
    floats
        .map(|(name, tensor)| {
            let shape = numbers(&tensor["shape"]).iter().map(|&d| d as usize).collect();
            let values = numbers(&tensor["values"]).iter().map(|&x| x as f32).collect();
            (name.clone(), (shape, values))
        })
        .collect()
}

/// The golden network.
static WANTED: LazyLock<Shapes> =
    LazyLock::new(|| expected().into_iter().map(|(name, (shape, _))| (name, shape)).collect());

/// The values that a file has for the golden network.
fn load(path: &Path) -> Result<BTreeMap<String, Vec<f32>>> {
    let file = WeightsFile::open(path)?;
    let tensors = file.fit(&Naming::default(), &WANTED)?.read(&Device::Cpu)?;
    let values = tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()));
    Ok(values.collect())
}

fn good() -> BTreeMap<String, Vec<f32>> {
    expected().into_iter().map(|(name, (_, values))| (name, values)).collect()
}

/// A folder for files made of bytes.
struct Lab(TempDir);

impl Lab {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("weights");
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Why these bytes are refused.
    fn refusal(&self, bytes: &[u8]) -> String {
        refusal(&self.file(bytes))
    }
}

/// Why this file is refused: in one line.
fn refusal(path: &Path) -> String {
    let error = load(path).unwrap_err();
    assert!(matches!(error, Error::Parse { .. } | Error::Config { .. }), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n') && message.len() < 600, "{message}");
    message
}

#[test]
fn what_pytorch_wrote_is_read() {
    for name in FILES {
        assert_eq!(load(&golden(name)).unwrap(), good(), "{name}");
    }
}

#[test]
fn a_listing_shows_everything_with_its_type() {
    for name in ["nested-zip.pt", "nested-legacy.pt"] {
        let list: BTreeMap<_, _> =
            WeightsFile::open(&golden(name)).unwrap().list().into_iter().collect();
        for (path, kind) in [
            ("epoch", "int 3"),
            ("best_prec1", "float 91.5"),
            ("arch", "text \"tiny\""),
            ("state_dict.module.conv.bias", "f64 [2]"),
            ("state_dict.module.norm.weight", "f16 [3]"),
            ("state_dict.module.norm.bias", "bf16 [3]"),
            ("state_dict.module.norm.num_batches_tracked", "i64 []"),
            ("state_dict.module.fc.weight", "f32 [2, 3]"),
            ("state_dict.module.none", "f32 [0, 3]"),
            ("optimizer.state.0.momentum_buffer", "f32 [2, 2]"),
            ("optimizer.param_groups.0.lr", "float 0.1"),
            ("optimizer.param_groups.0.nesterov", "bool false"),
            ("optimizer.param_groups.0.params", "list of 2"),
        ] {
            assert_eq!(list.get(path).map(String::as_str), Some(kind), "{name}: {path}");
        }
    }
}

#[test]
fn names_must_fit_both_ways() {
    let file = WeightsFile::open(&golden("nested-zip.pt")).unwrap();
    let message = |naming: &Naming, wanted: &Shapes| {
        let error = file.fit(naming, wanted).and_then(|fit| fit.check()).unwrap_err();
        assert!(matches!(error, Error::Config { .. }));
        error.to_string()
    };
    let all = WANTED.clone();
    let stripped = Naming { prefix: Some("module.".into()), ..Naming::default() };
    let mut fewer = all.clone();
    fewer.remove("conv.bias");
    fewer.insert("fc.bias".into(), vec![3]);
    fewer.insert("head.bias".into(), vec![3]);
    let text = message(&stripped, &fewer);
    assert!(text.contains("1 of the network's tensors missing (head.bias)"), "{text}");
    assert!(text.contains("1 unknown to the network (conv.bias)"), "{text}");
    assert!(text.contains("1 of another shape (fc.bias: f32 [2], expected [3])"), "{text}");

    let mut integer = all.clone();
    integer.insert("norm.num_batches_tracked".into(), vec![]);
    let text = message(&stripped, &integer);
    assert!(text.contains("no weights (norm.num_batches_tracked: i64 [])"), "{text}");

    let no_key = Naming { key: Some("model".into()), ..Naming::default() };
    assert!(message(&no_key, &all).contains("no dictionary `model`"));
}

#[test]
fn li2018_names_become_ours_unless_the_network_has_them() {
    let tensors: BTreeMap<String, candle_core::Tensor> =
        ["linear.bias", "layer2.0.shortcut.0.weight"]
            .map(|name| (name.to_owned(), kd_core::testing::random(kd_core::Stream::new(1), &[2])))
            .into();
    let lab = Lab::new();
    let path = lab.0.path().join("a.safetensors");
    save_safetensors(&path, &tensors).unwrap();
    let file = WeightsFile::open(&path).unwrap();
    let naming = Naming { names: crate::Names::Li2018, ..Naming::default() };
    for names in
        [["fc.bias", "layer2.0.downsample.0.weight"], ["linear.bias", "layer2.0.shortcut.0.weight"]]
    {
        let wanted: Shapes = names.map(|name| (name.to_owned(), vec![2])).into();
        file.fit(&naming, &wanted).unwrap().check().unwrap();
    }
    // What is written for PyTorch under the names of Li 2018 comes back.
    let ours: BTreeMap<_, _> = ["fc.bias", "bn1.running_mean"]
        .map(|name| (name.to_owned(), tensors["linear.bias"].clone()))
        .into();
    save_for_pytorch(&path, &ours, crate::Names::Li2018).unwrap();
    let bytes = fs::read(&path).unwrap();
    let file = WeightsFile::open(&path).unwrap();
    let list: Vec<_> =
        file.list().into_iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    let want =
        ["bn1.num_batches_tracked i64 []", "bn1.running_mean f32 [2]", "linear.bias f32 [2]"];
    assert_eq!(list, want);
    let wanted: Shapes = ours.keys().map(|name| (name.clone(), vec![2])).collect();
    assert_eq!(file.fit(&naming, &wanted).unwrap().read(&Device::Cpu).unwrap().len(), 2);
    save_for_pytorch(&path, &ours, crate::Names::Li2018).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes, "not byte-stable");
}

/// Zeros under the network's names, saved under another code base's.
fn save_zeros(path: &Path, wanted: &Shapes, names: crate::Names) {
    let zeros = wanted.iter().map(|(name, shape)| {
        let tensor = candle_core::Tensor::zeros(&shape[..], candle_core::DType::F32, &Device::Cpu);
        (name.clone(), tensor.unwrap())
    });
    save_for_pytorch(path, &zeros.collect(), names).unwrap();
}

fn wanted(name: &str, n_classes: usize) -> Shapes {
    let spec = crate::ModelSpec::from_name(name).unwrap();
    spec.as_dyn().graph([3, 32, 32], n_classes).unwrap().param_shapes().unwrap()
}

#[test]
fn names_of_another_code_base_are_recognized() {
    let lab = Lab::new();
    let path = lab.0.path().join("a.safetensors");
    for (name, names) in [
        ("resnet8-b", crate::Names::Torchvision),
        ("resnet8-b", crate::Names::RepDistiller),
        ("resnet8x4", crate::Names::Li2018),
        ("resnet18-cifar-w4", crate::Names::Li2018),
        ("efficientnet-lite0", crate::Names::EfficientNetLite),
    ] {
        let wanted = wanted(name, 10);
        save_zeros(&path, &wanted, names);
        let file = WeightsFile::open(&path).unwrap();
        let fit = file.fit(&Naming::default(), &wanted).unwrap();
        fit.check().unwrap();
        assert_eq!(fit.names, names, "{name}");
    }
}

#[test]
fn a_fault_beside_recognized_names_is_reported() {
    let lab = Lab::new();
    let path = lab.0.path().join("a.safetensors");
    let ours = wanted("resnet8-b", 10);
    let message = |saved: &Shapes| {
        save_zeros(&path, saved, crate::Names::RepDistiller);
        let file = WeightsFile::open(&path).unwrap();
        let fit = file.fit(&Naming::default(), &ours).unwrap();
        fit.check().unwrap_err().to_string()
    };
    let text = message(&wanted("resnet8-b", 100));
    assert!(text.contains("2 of another shape (linear.bias: f32 [100], expected [10]"), "{text}");
    assert!(!text.contains("missing"), "{text}");
    let mut fewer = ours.clone();
    fewer.remove("bn1.bias");
    // No code base's names fit, so none is taken for another.
    let text = message(&fewer);
    assert!(text.contains("missing (bn1.bias, ") && text.contains("unknown"), "{text}");
}

#[test]
fn every_cut_is_found() {
    let lab = Lab::new();
    for name in FILES {
        let whole = fs::read(golden(name)).unwrap();
        let path = lab.file(&[&whole[..], b"\0"].concat());
        refusal(&path);
        // In place, as new files take their time.
        let file = fs::File::options().write(true).open(&path).unwrap();
        for n in (0..whole.len()).rev() {
            file.set_len(n as u64).unwrap();
            refusal(&path);
        }
    }
}

/// A flipped bit of a zip file is found, or lies where nothing is read (a date, say). The other
/// formats have no checksum: it is found, or it changes values, but never shapes.
#[test]
fn flipped_bits_do_no_harm() {
    let lab = Lab::new();
    let good = good();
    for name in FILES {
        let bytes = fs::read(golden(name)).unwrap();
        let path = lab.file(&bytes);
        let mut file = fs::File::options().write(true).open(&path).unwrap();
        let mut write = |i: usize, byte: u8| {
            file.seek(SeekFrom::Start(i as u64)).unwrap();
            file.write_all(&[byte]).unwrap();
        };
        for (i, byte) in bytes.iter().enumerate() {
            write(i, byte ^ (1 << (i % 8)));
            match load(&path) {
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
                Ok(values) if name.ends_with("zip.pt") => assert_eq!(values, good, "{name}: {i}"),
                Ok(values) => assert!(values.keys().eq(good.keys()), "{name}: {i}"),
            }
            write(i, *byte);
        }
    }
}

#[test]
fn a_damaged_storage_in_a_zip_file_is_named() {
    let mut bytes = fs::read(golden("plain-zip.pt")).unwrap();
    // -1.0, the first number of conv.weight.
    let at = bytes.windows(8).position(|w| w == [0, 0, 0x80, 0xbf, 0, 0, 0x40, 0xbf]).unwrap();
    bytes[at] ^= 1;
    let message = Lab::new().refusal(&bytes);
    assert!(message.contains("damaged: `plain-zip/data/0` has CRC-32"), "{message}");
}

#[test]
fn a_checksum_in_the_name_of_a_file_is_verified() {
    let bytes = fs::read(golden("plain-legacy.pt")).unwrap();
    let digest = kd_core::fsx::sha256(&bytes);
    let lab = Lab::new();
    let path = lab.0.path().join(format!("net-a{}.pth", &digest[..9]));
    fs::write(&path, &bytes).unwrap();
    let message = load(&path).unwrap_err().to_string();
    assert!(message.contains("damaged: its name says"), "{message}");
    let right = (8..64).find(|n| digest[..*n].contains(|c: char| c.is_ascii_lowercase())).unwrap();
    let path = lab.0.path().join(format!("net-{}.pth", &digest[..right]));
    fs::write(&path, &bytes).unwrap();
    assert!(load(&path).is_ok());
}

/// A file of the old format whose object is the pickle `body`.
fn legacy(body: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".as_slice();
    let system = b"\x80\x02}X\x0d\0\0\0little_endian\x88s.".as_slice();
    [magic, b"\x80\x02M\xe9\x03.", system, b"\x80\x02", body, b".\x80\x02]."].concat()
}

#[test]
fn hostile_pickles_are_refused() {
    let lab = Lab::new();
    // {"w": a tensor of `size` numbers in a storage of `n`}
    let tensor = |class: &str, n: &[u8], size: &[u8]| {
        let start = b"}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage";
        let class = format!("ctorch\n{class}\nX\x01\0\0\0aN");
        let parts = [start, class.as_bytes(), n, b"tQK\0", size, b"\x85K\x01\x85\x89NtRs"];
        parts.concat()
    };
    let nested = |n: usize| ["(".repeat(n), "t".repeat(n)].concat().into_bytes();
    // Each list holds the one before eight times.
    let mut bomb = b"]q\0".to_vec();
    for level in 1..200 {
        bomb.extend(b"](");
        bomb.extend([b'h', level - 1].repeat(8));
        bomb.extend([b'e', b'q', level]);
    }
    for (what, body, words) in [
        ("a call", b"cos\nsystem\nX\x04\0\0\0true\x85R".to_vec(), "object os.system, not loaded"),
        ("builtins", b"c__builtin__\neval\nX\x01\0\0\x001\x85R".to_vec(), "__builtin__.eval, not"),
        ("a line break", b"cos\n\x1b[2Jx\n".to_vec(), "os.\\u{1b}[2Jx, not"),
        ("an object", b"ccollections\nOrderedDict\n)\x81".to_vec(), "dict of 0"),
        (
            "a network",
            b"(X\x06\0\0\0modulecx\nNet\nNNtQ)\x81}X\x0b\0\0\0_parameters}sb".to_vec(),
            "network (x.Net) with",
        ),
        ("a class by name", b"X\x02\0\0\0osX\x06\0\0\0system\x93".to_vec(), "os.system, not"),
        ("an instance", b"(ios\nsystem\n".to_vec(), "object os.system, not loaded"),
        ("an extension", b"\x82\x01)R".to_vec(), "object copyreg.extension, not loaded"),
        ("no opcode", b"\xff".to_vec(), "0xff, which is no opcode"),
        ("depth", nested(100_000), "no dictionary of tensors"),
        ("more depth", nested(600_000), "more than 1048576 steps"),
        ("a memo bomb", bomb, "no dictionary of tensors"),
        ("much text", b"X\xff\xff\xff\xff".to_vec(), "cut short"),
        ("an integer", b"\x8a\xff".to_vec(), "cut short"),
        ("a huge integer", b"\x8b\xff\xff\xff\xff".to_vec(), "cut short"),
        ("nothing", b"".to_vec(), "the stack is empty"),
        ("a mark", b"t".to_vec(), "no mark"),
        ("the memo", b"h\x07".to_vec(), "not stored before"),
        ("a number", b"K\x01".to_vec(), "the file has: int 1"),
        ("a missing storage", tensor("FloatStorage", b"K\x01", b"K\x01"), "`a` is missing"),
        (
            "an unknown storage",
            tensor("OddStorage", b"K\x01", b"K\x01"),
            "numbers of `torch.OddStorage`",
        ),
        ("a huge storage", tensor("FloatStorage", b"J\xff\xff\xff\x7f", b"K\x01"), "is missing"),
        ("a negative size", tensor("FloatStorage", b"K\x01", b"J\xff\xff\xff\xff"), "a size of -1"),
    ] {
        let message = lab.refusal(&legacy(&body));
        assert!(message.contains(words), "{what}: {message}");
    }
}

/// A dictionary within itself, and one that is shared 16 times on each of 30 levels.
#[test]
fn shared_and_circular_dictionaries_end() {
    let lab = Lab::new();
    let message = lab.refusal(&legacy(b"}q\0X\x01\0\0\0ah\0s"));
    assert!(message.contains("no dictionary of tensors"), "{message}");
    let mut shared = b"}q\0".to_vec();
    for level in 1..30u8 {
        shared.extend([b'}', b'q', level, b'(']);
        for name in b'a'..b'q' {
            shared.extend([b'X', 1, 0, 0, 0, name, b'h', level - 1]);
        }
        shared.push(b'u');
    }
    let message = lab.refusal(&legacy(&shared));
    assert!(message.contains("more than 100000 values"), "{message}");
}

#[test]
fn other_files_are_refused() {
    let lab = Lab::new();
    for (bytes, words) in [
        (&b""[..], "an empty file"),
        (b"no weights", "neither safetensors nor"),
        (b"\x80\x02}.", "torch.save did not write"),
        (b"PK\x03\x04", "no directory"),
        (b"PK\x03\x04PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "without one data.pkl"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff{}", "a header of 18446744073709551615 bytes"),
        (b"\x02\0\0\0\0\0\0\0{}\0", "11 bytes, but its header says 10"),
        (b"\x02\0\0\0\0\0\0\0{x", "header: "),
    ] {
        let message = lab.refusal(bytes);
        assert!(message.contains(words), "{message}");
    }
    let folder = load(lab.0.path()).unwrap_err();
    assert!(folder.to_string().contains("not a file"), "{folder}");
    let missing = load(&lab.0.path().join("no"));
    assert!(matches!(missing, Err(Error::Missing { .. })));
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let mut bytes = fs::read(golden("plain-legacy.pt")).unwrap();
    let at = bytes.windows(8).position(|w| w == [0, 0, 0x80, 0xbf, 0, 0, 0x40, 0xbf]).unwrap();
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let message = Lab::new().refusal(&bytes);
    assert!(message.contains("`conv.weight`: number 0 is NaN"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes after the start of each format, and any damage to a good file.
    #[test]
    fn no_bytes_make_it_panic(
        tail in proptest::collection::vec(any::<u8>(), 0..600),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let lab = Lab::new();
        let header = [&(tail.len() as u64).to_le_bytes()[..], b"{"].concat();
        let starts = [&b""[..], b"PK\x03\x04", b"\x80\x02", &legacy(b"")[..21], &header];
        for start in starts {
            let _ = load(&lab.file(&[start, &tail[..]].concat()));
        }
        let _ = pickle::read(&tail);
        for name in FILES {
            let mut bytes = fs::read(golden(name)).unwrap();
            for (index, byte) in &damage {
                let i = index.index(bytes.len());
                bytes[i] = *byte;
            }
            let _ = load(&lab.file(&bytes));
        }
    }

    /// Pickles of valid opcodes in any order.
    #[test]
    fn no_opcodes_make_it_panic(picks in proptest::collection::vec(0usize..OPCODES.len(), 0..80)) {
        let body: Vec<u8> = picks.into_iter().flat_map(|i| OPCODES[i].iter().copied()).collect();
        let lab = Lab::new();
        let _ = load(&lab.file(&legacy(&body)));
    }
}

/// Opcodes with their arguments.
const OPCODES: [&[u8]; 27] = [
    b"(",
    b"N",
    b"\x88",
    b"K\x02",
    b"J\xff\xff\xff\xff",
    b"\x8a\x01\x05",
    b"X\x01\0\0\0a",
    b"}",
    b"]",
    b")",
    b"\x85",
    b"\x86",
    b"\x87",
    b"t",
    b"a",
    b"e",
    b"s",
    b"u",
    b"q\0",
    b"h\0",
    b"ccollections\nOrderedDict\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n",
    b"R",
    b"b",
    b"Q",
    b"X\x07\0\0\0storage",
];

#[test]
fn a_file_of_ours_says_what_network_it_holds() {
    let lab = Lab::new();
    let path = lab.0.path().join("a.safetensors");
    let spec = crate::ModelSpec::from_name("mlp-3").unwrap();
    let graph = spec.as_dyn().graph([1, 1, 2], 2).unwrap().normalized(&[0.1307], &[0.3081]);
    let network = Description {
        class_names: vec!["no".into(), "yes".into()],
        ..Description::new("mlp-3", graph.unwrap())
    };
    let wanted = network.graph.param_shapes().unwrap();
    let zeros = |shape: &Vec<usize>| Tensor::zeros(&shape[..], DType::F32, &Device::Cpu).unwrap();
    let tensors = wanted.iter().map(|(name, shape)| (name.clone(), zeros(shape))).collect();
    save_network(&path, &tensors, &network).unwrap();
    let bytes = fs::read(&path).unwrap();
    let file = WeightsFile::open(&path).unwrap();
    assert_eq!(file.network(), Some(&network));
    assert!(file.fit(&Naming::default(), &wanted).unwrap().check().is_ok());
    save_network(&path, &tensors, &network).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    save_safetensors(&path, &tensors).unwrap();
    assert_eq!(WeightsFile::open(&path).unwrap().network(), None);
    // The header is JSON within JSON.
    let text = |from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + from.len()].copy_from_slice(to.as_bytes());
        lab.refusal(&changed)
    };
    assert!(text("fc1.relu", "fc9.relu").contains("kd.network: "));
    assert!(text("graph", "grapf").contains("kd.network: unknown field `grapf`"));
}
