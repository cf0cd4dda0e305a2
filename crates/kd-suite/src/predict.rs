//! What a trained network says of pictures in files.

use std::fmt;
use std::io::stdin;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use kd_core::{Classifier, Error, Mode, Net, Result};
use kd_data::{photograph, pictures_in};
use kd_train::probabilities;
use rayon::prelude::*;
use serde::Serialize;

use crate::weights::{self, Loaded, Wanted};

/// A network with all that is needed to look at a picture.
#[derive(Debug)]
pub struct Predictor {
    network: Net,
    class_names: Vec<String>,
    resize: Option<usize>,
    temperature: f64,
}

/// What a network says of one picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The picture.
    pub file: PathBuf,
    /// The likeliest classes, the likeliest first.
    pub classes: Vec<Likely>,
}

/// A class, and how likely it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Likely {
    /// Its name, or its number where no names are known.
    pub class: String,
    /// Its number.
    pub label: usize,
    /// By the softmax of the logits at the network's temperature.
    pub probability: f64,
}

impl fmt::Display for Prediction {
    /// `FILE<tab>CLASS 97.13 %<tab>...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        let mut classes = self.classes.iter();
        classes.try_for_each(|c| write!(f, "\t{} {:.2} %", c.class, 100.0 * c.probability))
    }
}

impl Predictor {
    /// The network in the file `path`, of kd's own making or an ONNX file; `resize` in place of what the
    /// file says. Says on stderr what the file does not.
    ///
    /// # Errors
    /// Those of the file.
    pub fn open(path: &Path, resize: Option<usize>) -> Result<Self> {
        let loaded = weights::load_aloud(path, &Wanted::default(), &Device::Cpu)?;
        let Loaded { network, class_names, resize: known, temperature, .. } = loaded;
        if temperature.is_none() {
            eprintln!(
                "{}: says no temperature, as trainings with held-out images find it; probabilities \
                 are those of the logits as they are",
                path.display()
            );
        }
        let (resize, temperature) = (resize.or(known), temperature.unwrap_or(1.0));
        Ok(Self { network: network.fixed(), class_names, resize, temperature })
    }

    /// What it says of each of `files`, in their order, the `n` likeliest classes of each; files are read
    /// and looked at in parallel.
    pub fn predict(&self, files: &[PathBuf], n: usize) -> Vec<Result<Prediction>> {
        files.par_iter().with_max_len(1).map(|file| self.one(file, n)).collect()
    }

    fn one(&self, file: &Path, n: usize) -> Result<Prediction> {
        let shape @ [channels, height, width] = self.network.graph().image_shape;
        let pixels = photograph(file, shape, self.resize)?;
        let pixels = Tensor::from_vec(pixels, (1, channels, height, width), &Device::Cpu)?;
        let logits = self.network.forward(&pixels, Mode::Eval)?.flatten_all()?.to_vec1::<f32>()?;
        let mut classes = self.likely(&logits);
        classes.truncate(n);
        Ok(Prediction { file: file.into(), classes })
    }

    /// All classes, the likeliest first; of equally likely ones in their order.
    fn likely(&self, logits: &[f32]) -> Vec<Likely> {
        let likely = probabilities(logits, self.temperature).into_iter().enumerate();
        let likely = likely.map(|(label, probability)| Likely {
            class: self.class_names.get(label).cloned().unwrap_or_else(|| label.to_string()),
            label,
            probability,
        });
        let mut likely: Vec<Likely> = likely.collect();
        likely.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        likely
    }
}

/// Pictures that are looked at before anything is said of them.
const GROUP: usize = 64;

/// The pictures that `names` stand for, in groups to be looked at together; `-` is for a path in each line
/// of stdin, each a group.
pub fn groups(names: &[String]) -> impl Iterator<Item = Result<Vec<PathBuf>>> {
    names.iter().flat_map(|name| -> Box<dyn Iterator<Item = _>> {
        if name == "-" {
            let lines = stdin().lines();
            return Box::new(
                lines.map(|line| Ok(vec![line.map_err(Error::io("-", "read"))?.into()])),
            );
        }
        let groups: Vec<Result<Vec<PathBuf>>> = match pictures(name) {
            Ok(found) => found.chunks(GROUP).map(|group| Ok(group.to_vec())).collect(),
            Err(error) => vec![Err(error)],
        };
        Box::new(groups.into_iter())
    })
}

/// The pictures that `name` stands for: a file, those in a folder and below it, or those of a pattern with
/// `*`, `?`, `[..]`.
///
/// # Errors
/// [`Error::Missing`] when there is none; [`Error::Io`].
pub fn pictures(name: &str) -> Result<Vec<PathBuf>> {
    let path = PathBuf::from(name);
    if path.is_dir() {
        return some(pictures_in(&path)?, path, "holds no pictures");
    }
    if path.exists() || !name.contains(['*', '?', '[']) {
        return Ok(vec![path]);
    }
    let reason = |e: glob::PatternError| Error::config("images", format!("`{name}`: {}", e.msg));
    let found = glob::glob(name).map_err(reason)?.filter_map(std::result::Result::ok);
    some(found.filter(|path| path.is_file()).collect(), path, "no file has such a name")
}

fn some(found: Vec<PathBuf>, path: PathBuf, hint: &str) -> Result<Vec<PathBuf>> {
    if found.is_empty() { Err(Error::Missing { path, hint: hint.into() }) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use kd_core::checkpoint::Description;
    use kd_core::ops::{Flatten, Linear};
    use kd_core::{Graph, Stream};
    use kd_models::weights::save_network;

    use super::*;

    /// Two classes of one gray pixel x: logits 0 and 4 x, at temperature 2.
    fn predictor(at: &Path) -> Predictor {
        let mut graph = Graph::new([1, 1, 1]);
        graph.then("flat", Flatten {});
        graph.then("fc", Linear::new(2));
        let net = Net::new(graph.clone(), Stream::new(1), &Device::Cpu).unwrap();
        let mut tensors = net.params().tensors();
        let tensor = |values: &[f32], shape: &[usize]| {
            Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
        };
        tensors.insert("fc.weight".into(), tensor(&[0.0, 4.0], &[2, 1]));
        tensors.insert("fc.bias".into(), tensor(&[0.0, 0.0], &[2]));
        let class_names = vec!["dark".into(), "light".into()];
        let known = Description::new("pixel", graph);
        let known = Description { class_names, temperature: Some(2.0), ..known };
        let path = at.join("pixel.safetensors");
        save_network(&path, &tensors, &known).unwrap();
        Predictor::open(&path, None).unwrap()
    }

    fn dot(at: &Path, name: &str, value: f32) -> PathBuf {
        let path = at.join(name);
        fs::write(&path, kd_adv::encode_png([1, 1, 1], &[value]).unwrap()).unwrap();
        path
    }

    #[test]
    fn probabilities_by_hand_and_a_bad_file_among_good_ones() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let files = [dot(at, "white.png", 1.0), at.join("none.png"), dot(at, "black.png", 0.0)];
        let said = predictor(at).predict(&files, 2);
        let white = said[0].as_ref().unwrap();
        assert_eq!((white.classes[0].class.as_str(), white.classes[0].label), ("light", 1));
        let want = 1.0 / (1.0 + (-2f64).exp());
        assert!((white.classes[0].probability - want).abs() < 1e-12);
        assert!(matches!(said[1], Err(Error::Missing { .. })));
        let black = said[2].as_ref().unwrap();
        let halves = black.classes.iter().map(|likely| (likely.class.as_str(), likely.probability));
        assert_eq!(halves.collect::<Vec<_>>(), [("dark", 0.5), ("light", 0.5)]);
    }

    #[test]
    fn a_name_stands_for_a_file_a_folder_or_a_pattern() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::create_dir(at.join("in")).unwrap();
        let (a, b) = (dot(at, "a.png", 0.0), dot(&at.join("in"), "b.png", 0.0));
        fs::write(at.join("notes.txt"), "").unwrap();
        let found = |name: &str| pictures(&at.join(name).display().to_string());
        assert_eq!(found("").unwrap(), [a.clone(), b]);
        assert_eq!(found("*.png").unwrap(), [a]);
        assert!(matches!(found("*.jpg"), Err(Error::Missing { .. })));
        assert_eq!(found("there.png").unwrap(), [at.join("there.png")], "said when it is read");
    }
}
