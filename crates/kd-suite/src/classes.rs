//! Which outputs of a network stand for the classes of a data set.
//!
//! Key decision: where both name their classes, the names decide and not the order; and a network of
//! more classes than the data judges among those of the data only. It gets a last layer of zeros and ones
//! for that, so that nothing behind it knows.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::ops::Linear;
use kd_core::{Classifier, Error, Net, Result};
use kd_data::imagenet::labels::classes as imagenet;

/// Names that a message lists.
const N_LISTED: usize = 5;
/// The last layer.
const LAYER: &str = "classes_of_the_data";

/// Classes: how many, and their names where they are known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Classes<'a> {
    pub(crate) n: usize,
    pub(crate) names: &'a [String],
}

/// How the outputs of a network become logits of the data's classes.
#[derive(Debug, PartialEq)]
pub(crate) enum Matched {
    /// They are, one after the other.
    InOrder,
    /// As [`Matched::InOrder`], though they have other names.
    ByPlace,
    /// Class `k` of the data is the output of this number.
    Rows(Vec<usize>),
}

/// How a network of the classes `own` judges images of the classes `data`.
///
/// # Errors
/// A reason when their numbers differ, and names do not say which is which.
pub(crate) fn matched(own: Classes<'_>, data: Classes<'_>) -> std::result::Result<Matched, String> {
    let rows = rows(own, data);
    if own.n == data.n {
        return Ok(match rows {
            Some(rows) if rows.iter().enumerate().all(|(k, row)| k == *row) => Matched::InOrder,
            Some(rows) => Matched::Rows(rows),
            None if own.names.is_empty() || data.names.is_empty() => Matched::InOrder,
            None => Matched::ByPlace,
        });
    }
    rows.map(Matched::Rows).ok_or_else(|| why_not(own, data))
}

/// The output for each class of the data, by name.
fn rows(own: Classes<'_>, data: Classes<'_>) -> Option<Vec<usize>> {
    let imagenet = imagenet();
    let is_imagenet = own.names.is_empty() && own.n == imagenet.len() && are_synsets(data.names);
    let ids: Vec<String> = imagenet.iter().map(|(id, _)| (*id).to_owned()).collect();
    let names = if is_imagenet { &ids[..] } else { own.names };
    let words: BTreeMap<&str, &str> = imagenet.into_iter().collect();
    let mut known: BTreeMap<String, Option<usize>> = BTreeMap::new();
    for (row, name) in names.iter().enumerate() {
        for key in keys(name, &words) {
            // What two classes are called tells none of them.
            known.entry(key).and_modify(|it| *it = it.filter(|it| *it == row)).or_insert(Some(row));
        }
    }
    let find =
        |name: &String| keys(name, &words).iter().find_map(|key| known.get(key).copied().flatten());
    let rows: Option<Vec<usize>> = data.names.iter().map(find).collect();
    let is_whole = |rows: &Vec<usize>| {
        let distinct: std::collections::BTreeSet<_> = rows.iter().collect();
        !rows.is_empty() && rows.len() == data.n && distinct.len() == rows.len()
    };
    rows.filter(is_whole)
}

/// The label of the class that is called `name`.
pub(crate) fn label(name: &str, names: &[String]) -> Option<u32> {
    let words: BTreeMap<&str, &str> = imagenet().into_iter().collect();
    let wanted = keys(name, &words);
    let is_like = |other: &String| keys(other, &words).iter().any(|key| wanted.contains(key));
    let found = names.iter().position(|other| other == name);
    let found = found.or_else(|| names.iter().position(is_like))?;
    u32::try_from(found).ok()
}

/// What a class may be called: its name, the first of several, and for a WordNet id its word.
fn keys(name: &str, words: &BTreeMap<&str, &str>) -> Vec<String> {
    let plain = |name: &str| name.trim().to_lowercase().replace(['_', '-'], " ");
    let mut keys = vec![plain(name)];
    keys.extend(name.split_once(',').map(|(first, _)| plain(first)));
    keys.extend(words.get(name).map(|word| plain(word)));
    keys
}

fn are_synsets(names: &[String]) -> bool {
    let known = imagenet();
    let is_known = |name: &String| known.binary_search_by(|(id, _)| (*id).cmp(name)).is_ok();
    !names.is_empty() && names.iter().all(is_known)
}

fn why_not(own: Classes<'_>, data: Classes<'_>) -> String {
    let numbers = format!("it tells {} classes apart, the data has {}", own.n, data.n);
    let why = match (own.names.is_empty(), data.names.is_empty()) {
        (true, _) => "it does not name its classes, by which those of the data could be found",
        (_, true) => "the data does not name its classes, by which they could be found",
        _ => {
            let (own, data) = (list(own.names), list(data.names));
            return format!("{numbers}; its names ({own}) do not have all of those ({data})");
        }
    };
    format!("{numbers}; {why}")
}

/// The first few names.
pub(crate) fn list(names: &[String]) -> String {
    let more = if names.len() > N_LISTED { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(N_LISTED)].join(", "))
}

/// `network`, whose output for class `k` is that of its class `rows[k]`.
pub(crate) fn select(network: &Net, rows: &[usize], device: &Device) -> Result<Net> {
    let mut graph = network.graph().clone();
    if graph.node(LAYER).is_some() {
        return Err(Error::config(LAYER, "the network has a node of this name already"));
    }
    let n_classes = network.n_classes();
    graph.then(LAYER, Linear { bias: false, ..Linear::new(rows.len()) });
    let mut weight = vec![0f32; rows.len() * n_classes];
    for (weights, row) in weight.chunks_exact_mut(n_classes).zip(rows) {
        weights[*row] = 1.0;
    }
    let mut tensors = network.params().tensors();
    let weight = Tensor::from_vec(weight, (rows.len(), n_classes), device)?;
    tensors.insert(format!("{LAYER}.weight"), weight);
    Net::with_weights(graph, &tensors, device)
}

#[cfg(test)]
mod tests {
    use kd_core::{Graph, Mode, Stream};

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn of(names: &[String]) -> Classes<'_> {
        Classes { n: names.len(), names }
    }

    #[test]
    fn classes_are_found_by_their_names() {
        let own = names(&["cat", "dog", "Sea_Lion", "tench, Tinca tinca"]);
        for (data, expected) in [
            (&["cat", "dog", "sea-lion", "tench"][..], Matched::InOrder),
            (&["dog", "cat", "sea lion", "n01440764"], Matched::Rows(vec![1, 0, 2, 3])),
            (&["Katze", "Hund", "Robbe", "Schleie"], Matched::ByPlace),
            (&["n01440764", "dog"], Matched::Rows(vec![3, 1])),
        ] {
            assert_eq!(matched(of(&own), of(&names(data))), Ok(expected), "{data:?}");
        }
        assert_eq!(matched(of(&own), Classes { n: 4, names: &[] }), Ok(Matched::InOrder));
        let unnamed = |n| Classes { n, names: &[] };
        for (own, data, words) in [
            (of(&own), unnamed(3), "it tells 4 classes apart, the data has 3; the data does not"),
            (unnamed(1000), of(&own), "it tells 1000 classes apart, the data has 4; it does not"),
            (of(&own), of(&names(&["dog", "cow"])), "do not have all of those (dog, cow)"),
            (of(&own), of(&names(&["dog", "Dog"])), "do not have all of those (dog, Dog)"),
        ] {
            let reason = matched(own, data).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }

    /// Imagenette's classes; torchvision lists the same numbers beside its weights.
    #[test]
    fn a_thousand_classes_without_names_are_those_of_imagenet() {
        let imagenette = [
            "n01440764",
            "n02102040",
            "n02979186",
            "n03000684",
            "n03028079",
            "n03394916",
            "n03417042",
            "n03425413",
            "n03445777",
            "n03888257",
        ];
        let rows = vec![0, 217, 482, 491, 497, 566, 569, 571, 574, 701];
        let data = names(&imagenette);
        let own = Classes { n: 1000, names: &[] };
        assert_eq!(matched(own, of(&data)), Ok(Matched::Rows(rows)));
    }

    #[test]
    fn a_selected_network_gives_the_logits_of_its_classes() {
        let mut graph = Graph::new([1, 2, 2]);
        graph.then("flatten", kd_core::ops::Flatten {});
        graph.then("fc", Linear::new(5));
        let whole = Net::new(graph, Stream::new(3), &Device::Cpu).unwrap();
        let some = select(&whole, &[4, 0, 2], &Device::Cpu).unwrap();
        let images = Tensor::arange(0f32, 8.0, &Device::Cpu).unwrap();
        let images = (images / 8.0).unwrap().reshape((2, 1, 2, 2)).unwrap();
        let rows = |net: &Net| net.forward(&images, Mode::Eval).unwrap().to_vec2::<f32>().unwrap();
        for (all, some) in rows(&whole).into_iter().zip(rows(&some)) {
            assert_eq!(some, [all[4], all[0], all[2]]);
        }
    }
}
