//! The attacks that a suite file can name.

use kd_core::{Result, Stream, registry};

use crate::attacks::{
    Apgd, AutoAttack, Bim, CarliniWagner, DeepFool, Fab, Fgsm, Jsma, MiFgsm, Pgd, Square,
};
use crate::{Attack, Examples, Norm, Victim};

registry! {
    /// An attack, chosen by `kind` in a suite file; the default settings are those of its source.
    pub enum AttackSpec: dyn Attack {
        "fgsm" => Fgsm(Fgsm),
        "bim" => Bim(Bim),
        "pgd" => Pgd(Pgd),
        "mi-fgsm" => MiFgsm(MiFgsm),
        "deepfool" => DeepFool(DeepFool),
        "cw" => CarliniWagner(CarliniWagner),
        "jsma" => Jsma(Jsma),
        "apgd" => Apgd(Apgd),
        "fab" => Fab(Fab),
        "square" => Square(Square),
        "autoattack" => AutoAttack(AutoAttack),
    }
}

impl AttackSpec {
    /// The same with another radius; none where there is no radius.
    pub fn with_eps(&self, eps: f32) -> Option<Self> {
        let mut other = self.clone();
        other.as_dyn_mut().set_eps(eps).then_some(other)
    }
}

impl Attack for AttackSpec {
    fn check(&self) -> Result<()> {
        self.as_dyn().check()
    }

    fn norm(&self) -> Norm {
        self.as_dyn().norm()
    }

    fn eps(&self) -> Option<f32> {
        self.as_dyn().eps()
    }

    fn set_eps(&mut self, eps: f32) -> bool {
        self.as_dyn_mut().set_eps(eps)
    }

    fn step_size(&self) -> Option<f32> {
        self.as_dyn().step_size()
    }

    fn uses_gradients(&self) -> bool {
        self.as_dyn().uses_gradients()
    }

    fn n_passes(&self, n_pixels: usize) -> usize {
        self.as_dyn().n_passes(n_pixels)
    }

    fn run(&self, victim: &Victim<'_>, examples: &Examples, stream: Stream) -> Result<Vec<f32>> {
        self.as_dyn().run(victim, examples, stream)
    }
}
