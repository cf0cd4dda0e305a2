//! Attacks and an audit as they are chosen in words.

use kd_adv::{AttackSpec, Audit, Norm, at_radii};
use kd_core::Result;

use crate::configured::configured;

/// The attack `name` with its defaults but for the settings `KEY=VALUE`, at each of `radii`; at its own
/// where there are none.
///
/// # Errors
/// [`kd_core::Error::Config`] for what is no attack, setting or radius.
pub fn attacks(name: &str, settings: &[String], radii: &[f32]) -> Result<Vec<AttackSpec>> {
    let settings = settings.iter().map(String::as_str);
    let spec: AttackSpec = configured(("attack", AttackSpec::NAMES), name, settings)?;
    if !radii.is_empty() {
        return at_radii(&spec, radii);
    }
    spec.as_dyn().check()?;
    Ok(vec![spec])
}

/// An audit at the first of `radii`, else at that of the first attack where that is one in the L-infinity
/// norm, else at its usual one.
///
/// # Errors
/// [`kd_core::Error::Config`] for a radius that cannot be.
pub fn audit(attacks: &[AttackSpec], radii: &[f32]) -> Result<Audit> {
    let first = attacks.first().filter(|spec| spec.as_dyn().norm() == Norm::Linf);
    let radius = match attacks {
        [] => radii.first().copied(),
        _ => first.and_then(|spec| spec.as_dyn().eps()),
    };
    let audit = Audit { eps: radius.unwrap_or(Audit::default().eps), ..Audit::default() };
    audit.check()?;
    Ok(audit)
}
