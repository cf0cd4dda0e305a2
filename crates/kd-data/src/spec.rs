//! The data sets that a suite file can name.

use kd_core::registry;

use crate::{
    Cifar10, Cifar100, Dataset, Folder, IdxFiles, Mnist, PhotoFolder, SyntheticDigits,
    SyntheticObjects, SyntheticPhotos,
};

registry! {
    /// A data set, chosen by `kind`.
    pub enum DataSpec: dyn Dataset {
        "mnist" => Mnist(Mnist),
        "cifar10" => Cifar10(Cifar10),
        "cifar100" => Cifar100(Cifar100),
        "idx" => Idx(IdxFiles),
        "folder" => Folder(Folder),
        "photos" => Photos(PhotoFolder),
        "synthetic-digits" => SyntheticDigits(SyntheticDigits),
        "synthetic-objects" => SyntheticObjects(SyntheticObjects),
        "synthetic-photos" => SyntheticPhotos(SyntheticPhotos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read_strictly() {
        let read = |json| serde_json::from_str::<DataSpec>(json);
        assert_eq!(read(r#"{"kind":"mnist"}"#).unwrap().name(), "mnist");
        let DataSpec::SyntheticDigits(digits) =
            read(r#"{"kind":"synthetic-digits","n_train":5}"#).unwrap()
        else {
            panic!("another kind")
        };
        assert_eq!(digits, SyntheticDigits { n_train: 5, ..SyntheticDigits::default() });
        let DataSpec::Folder(folder) = read(r#"{"kind":"folder","path":"a"}"#).unwrap() else {
            panic!("another kind")
        };
        assert_eq!(folder, Folder { path: "a".into(), ..Folder::default() });
        assert!(read(r#"{"kind":"mnist","n_train":5}"#).is_err());
        assert!(read(r#"{"kind":"cifar10","path":"a"}"#).is_err());
        let DataSpec::Cifar100(cifar100) =
            read(r#"{"kind":"cifar100","labels":"coarse"}"#).unwrap()
        else {
            panic!("another kind")
        };
        assert_eq!(cifar100.labels, crate::Cifar100Labels::Coarse);
        assert!(read(r#"{"kind":"cifar100","labels":"both"}"#).is_err());
        assert!(read(r#"{"kind":"synthetic-digits","n":5}"#).is_err());
        assert!(read(r#"{"kind":"emnist"}"#).unwrap_err().to_string().contains("mnist"));
    }

    #[test]
    fn every_entry_normalizes_the_channels_of_its_images() {
        assert_eq!(DataSpec::all().len(), DataSpec::NAMES.len());
        for spec in DataSpec::all() {
            assert_eq!(spec.as_dyn().is_synthetic(), spec.name().starts_with("synthetic-"));
            let normalize = spec.as_dyn().normalize();
            let n_channels = normalize.mean.len();
            assert!([1, 3].contains(&n_channels), "{}", spec.name());
            let graph = kd_core::Graph::new([n_channels, 2, 2]);
            let normalized = graph.normalized(&normalize.mean, &normalize.std);
            assert!(normalized.is_ok(), "{}", spec.name());
        }
    }
}
