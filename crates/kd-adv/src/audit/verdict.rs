//! From checks to a verdict in words.

use kd_core::record::{AuditRecord, AuditVerdict, CensusRecord, CheckRecord};

use super::checks::percent;
use super::lab::Lab;

/// For a network whose outputs are probabilities: nothing else can be checked.
pub(super) fn of_probabilities(checks: Vec<CheckRecord>) -> AuditRecord {
    let words = "Masked: the network outputs probabilities, whose gradients vanish where it is \
                 confident; take its logits, and audit again.";
    let verdict = AuditVerdict::Masked;
    AuditRecord { checks, verdict, words: words.into(), ..AuditRecord::default() }
}

/// `n_plain` images fall to the plain attack, `n_worst` to that or any other.
pub(super) fn of(
    lab: &Lab<'_>,
    census: &CensusRecord,
    checks: Vec<CheckRecord>,
    n_plain: usize,
    n_worst: usize,
) -> AuditRecord {
    let (n, eps) = (lab.examples.len(), lab.audit.eps);
    let failed: Vec<&str> = checks.iter().filter(|c| !c.passed).map(|c| c.name.as_str()).collect();
    let ball = format!("L-infinity radius {eps}");
    let stands = percent(n - n_worst, n);
    let (verdict, words) = if n < AuditRecord::FEWEST_IMAGES {
        let words = format!(
            "Too few images: {n} are classified correctly, and fewer than {} decide nothing.",
            AuditRecord::FEWEST_IMAGES
        );
        (AuditVerdict::TooFewImages, words)
    } else if !failed.is_empty() {
        let words = format!(
            "Masked: at {ball}, PGD on the cross entropy leaves {} of the {n} correctly \
             classified images standing, all attacks together {stands}. The first figure is not \
             to be believed: {} of {} checks fail ({}).",
            percent(n - n_plain, n),
            failed.len(),
            checks.len(),
            failed.join(", ")
        );
        (AuditVerdict::Masked, words)
    } else if 2 * (n - n_worst) >= n {
        let words = format!(
            "Sound: at {ball}, {stands} of the {n} correctly classified images withstand every \
             attack tried, and no check finds hidden gradients."
        );
        (AuditVerdict::Sound, words)
    } else {
        let words = format!(
            "Not robust: at {ball}, only {stands} of the {n} correctly classified images \
             withstand the attacks; no check finds hidden gradients."
        );
        (AuditVerdict::NotRobust, words)
    };
    let words = words + &rounding(census, lab.victim.n_classes());
    AuditRecord { checks, verdict, words, n_images: Some(n), ..AuditRecord::default() }
}

/// What is lost when logits are so large that float32 has few values between the first and the
/// second: attacks, which compare them, do not see smaller changes. No network needs such logits,
/// for a softmax takes the same from them whatever is added to all.
fn rounding(census: &CensusRecord, n_classes: usize) -> String {
    const COARSE: f64 = 1e-3;
    let (size, gap) = (census.mean_logit_norm / (n_classes as f64).sqrt(), census.mean_logit_gap);
    let step = size * f64::from(f32::EPSILON);
    if step <= COARSE * gap {
        return String::new();
    }
    format!(
        " Note the resolution: logits of about {size:.1e} are rounded to multiples of {step:.1e} in \
         float32, and the first two of an image are {gap:.1e} apart; attacks see no smaller change."
    )
}
