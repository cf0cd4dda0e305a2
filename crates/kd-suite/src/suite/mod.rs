//! Suites: experiments as data, and the resolved spec of a run.

mod file;
mod names;
mod resolve;
mod robustness;

pub use file::{Grid, Preset, StudentFile, Suite, TrainingFile};
pub use names::model;
pub use resolve::{Spec, resolve};
pub(crate) use resolve::{StudentSpec, Teacher, TrainingSpec};
pub use robustness::{AttackFile, AuditFile, CensusFile};
pub(crate) use robustness::{
    AttackSection, AuditSection, CensusSpec, ImagesSpec, Robustness, Source,
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Suite, resolve};

    #[test]
    fn every_suite_of_the_repository_resolves_in_every_preset() {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask");
        let folders = ["suites", "recipes"].map(|name| std::fs::read_dir(xtask.join(name)));
        let mut n_specs = 0;
        for entry in folders.into_iter().flat_map(Result::unwrap) {
            let path = entry.unwrap().path();
            let suite = Suite::read(&path).unwrap();
            for preset in suite.preset.keys() {
                let spec = resolve(&suite, preset, true, 1).unwrap();
                let text = spec.to_toml().unwrap();
                assert!(text.contains("[[training]]"), "{}: {text}", path.display());
                n_specs += 1;
            }
        }
        assert!(n_specs > 12);
    }
}
