//! One file an attack.

mod apgd;
mod autoattack;
mod bim;
mod carlini_wagner;
mod deepfool;
mod fab;
mod fgsm;
mod iterate;
mod jsma;
mod mi_fgsm;
mod pgd;
mod square;
mod standing;

pub use apgd::Apgd;
pub use autoattack::AutoAttack;
pub use bim::Bim;
pub use carlini_wagner::CarliniWagner;
pub use deepfool::DeepFool;
pub use fab::Fab;
pub use fgsm::Fgsm;
pub use jsma::Jsma;
pub use mi_fgsm::MiFgsm;
pub use pgd::Pgd;
pub use square::Square;
