//! A model's records under attack, each thing once.

use std::collections::BTreeMap;

use kd_core::Norm;
use kd_core::record::{AttackRecord, AuditRecord, CensusRecord, PicturesRecord};

use crate::ordered::{Ordered, grouped};

/// What was recorded about one model under attack.
#[derive(Default)]
pub(crate) struct AttackRuns {
    /// By attack and seed.
    attacks: Ordered<(AttackKey, u64), AttackRecord>,
    /// By seed.
    pub(crate) census: BTreeMap<u64, CensusRecord>,
    /// By seed.
    pub(crate) audits: BTreeMap<u64, AuditRecord>,
    /// By attack and seed.
    pictures: Ordered<(String, u64), PicturesRecord>,
}

/// Name, norm and bits of the radius.
type AttackKey = (String, Norm, Option<u64>);

impl AttackRuns {
    /// Where a record repeats an earlier one, as after a resume, the later wins.
    pub(crate) fn add_attack(&mut self, attack: AttackRecord) {
        let key = (key(&attack), attack.seed);
        *self.attacks.entry(key) = attack;
    }

    pub(crate) fn add_census(&mut self, census: CensusRecord) {
        self.census.insert(census.seed, census);
    }

    pub(crate) fn add_audit(&mut self, audit: AuditRecord) {
        self.audits.insert(audit.seed, audit);
    }

    pub(crate) fn add_pictures(&mut self, pictures: PicturesRecord) {
        let key = (pictures.attack.clone(), pictures.seed);
        *self.pictures.entry(key) = pictures;
    }

    /// Each attack at each radius over all seeds, in order of appearance.
    pub(crate) fn attacks(&self) -> Vec<Vec<&AttackRecord>> {
        grouped(self.attacks.values(), |attack| key(attack))
    }

    /// In order of appearance.
    pub(crate) fn pictures(&self) -> &[PicturesRecord] {
        self.pictures.values()
    }

    pub(crate) fn is_empty(&self) -> bool {
        let none = self.attacks.values().is_empty() && self.pictures.values().is_empty();
        none && self.census.is_empty() && self.audits.is_empty()
    }
}

fn key(attack: &AttackRecord) -> AttackKey {
    (attack.attack.clone(), attack.norm, attack.eps.map(f64::to_bits))
}
