//! What `kd attack --out` keeps: groups of images while the work goes on, and the files at its end.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use kd_adv::{Outcome, encode_png};
use kd_core::{Result, checkpoint, fsx};
use kd_models::weights::save_safetensors;
use rayon::prelude::*;

use super::keep::{Done, Groups, IMAGES, tensor};
use crate::run::Folder;

/// A folder with the results of one command.
pub(crate) struct Store {
    pub(super) folder: Folder,
    image_shape: [usize; 3],
    /// What the folder of each class is called.
    folders: Vec<String>,
}

impl Store {
    /// Creates or takes up `path` for a command with the settings `spec`.
    pub(super) fn open(
        path: &Path,
        spec: &str,
        (image_shape, n_classes): ([usize; 3], usize),
        class_names: &[String],
    ) -> Result<Self> {
        let folders = class_folders(class_names, n_classes);
        Ok(Self { folder: Folder::open(path, spec)?, image_shape, folders })
    }

    /// Where the groups of the attack `name` are.
    pub(super) fn groups(&self, name: &str) -> Groups {
        let folder = self.folder.path().join("checkpoints");
        Groups::of_outcomes(folder, name.into()).with_images(self.image_shape)
    }

    /// Writes `NAME.safetensors` and the folder `NAME-png`.
    pub(super) fn finish(&self, name: &str, done: &Done) -> Result<()> {
        let own = &done.own;
        let classes = |f: fn(&Outcome) -> u32| {
            Tensor::from_vec(own.iter().map(f).collect::<Vec<_>>(), own.len(), &Device::Cpu)
        };
        let tensors = BTreeMap::from([
            (IMAGES.to_owned(), tensor(self.image_shape, &done.pixels)?),
            ("indices".to_owned(), classes(|outcome| outcome.index)?),
            ("labels".to_owned(), classes(|outcome| outcome.label)?),
            ("predictions".to_owned(), classes(|outcome| outcome.after)?),
        ]);
        save_safetensors(&self.folder.path().join(format!("{name}.safetensors")), &tensors)?;
        self.write_pngs(name, done)
    }

    /// One PNG an image, in a folder for each class, as `--data folder:` reads them.
    fn write_pngs(&self, name: &str, done: &Done) -> Result<()> {
        let root = self.folder.path().join(format!("{name}-png"));
        checkpoint::remove(&root)?;
        self.folders.iter().try_for_each(|name| fsx::create_folder(&root.join(name)))?;
        let size: usize = self.image_shape.iter().product();
        done.pixels.par_chunks(size).zip(&done.own).try_for_each(|(image, outcome)| {
            let class = root.join(&self.folders[outcome.label as usize]);
            let path = class.join(format!("{:06}.png", outcome.index));
            fsx::write_atomic(&path, &encode_png(self.image_shape, image)?)
        })
    }
}

/// A folder for each class, whose order by name is that of the classes: their names, or their numbers
/// where names have another order or could not be those of folders.
fn class_folders(names: &[String], n_classes: usize) -> Vec<String> {
    let allowed = |c: char| c.is_alphanumeric() || "-_., ".contains(c);
    let is_plain = |name: &String| {
        (1..=100).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
    };
    let is_ordered = names.windows(2).all(|two| two[0] < two[1]);
    if names.len() == n_classes && is_ordered && names.iter().all(is_plain) {
        return names.to_vec();
    }
    let width = n_classes.saturating_sub(1).to_string().len();
    (0..n_classes).map(|label| format!("{label:0width$}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_classes_keep_the_order_of_the_classes() {
        let folders = |names: &[&str], n| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            class_folders(&names, n).join("|")
        };
        assert_eq!(folders(&["cat", "sea lion", "tench"], 3), "cat|sea lion|tench");
        for names in [&["dog", "cat"][..], &["a", "a"], &["../x", "y"], &["a"], &[]] {
            assert_eq!(folders(names, 2), "0|1", "{names:?}");
        }
        assert!(folders(&[], 11).starts_with("00|01|") && folders(&[], 11).ends_with("|10"));
    }
}
