//! Which parameters of a network stay, and which learn faster than others.

use std::collections::{BTreeMap, BTreeSet};

use glob::Pattern;
use kd_core::{Classifier, Error, Net, Result};

/// Freezes what `patterns` match.
///
/// # Errors
/// [`Error::Config`] for a pattern that is none or matches nothing, and when nothing is left to train.
pub(super) fn freeze(net: &mut Net, patterns: &[String]) -> Result<()> {
    let mut frozen = BTreeSet::new();
    for pattern in patterns {
        frozen.extend(matching(net, "freeze", pattern)?);
    }
    if frozen.is_empty() { Ok(()) } else { net.freeze(&frozen) }
}

/// The factor of each parameter's learning rate, by its name, where it has one.
///
/// # Errors
/// [`Error::Config`] for a pattern that is none or matches nothing that is trained, and for a
/// parameter of two patterns.
pub(super) fn factors(
    net: &Net,
    patterns: &BTreeMap<String, f64>,
) -> Result<BTreeMap<String, f64>> {
    let mut factors = BTreeMap::new();
    for (pattern, factor) in patterns {
        for name in matching(net, "learning_rate_of", pattern)? {
            if factors.insert(name.clone(), *factor).is_some() {
                let reason = format!("two patterns match `{name}`");
                return Err(Error::config("learning_rate_of", reason));
            }
        }
    }
    Ok(factors)
}

/// Names of the trained parameters that `pattern` matches.
fn matching(net: &Net, field: &str, pattern: &str) -> Result<BTreeSet<String>> {
    let (text, wanted) = match pattern.strip_prefix('!') {
        Some(others) => (others, false),
        None => (pattern, true),
    };
    let compiled = Pattern::new(text)
        .map_err(|e| Error::config(field, format!("`{pattern}` is no pattern: {}", e.msg)))?;
    let matches = |name: &str| {
        let ends = name.match_indices('.').map(|(end, _)| end).chain([name.len()]);
        ends.into_iter().any(|end| compiled.matches(&name[..end]))
    };
    let names: Vec<&str> = net.params().iter().map(|(name, _)| name).collect();
    let chosen = names.iter().filter(|name| matches(name) == wanted);
    let chosen: BTreeSet<String> = chosen.map(|name| (*name).to_owned()).collect();
    // All but nothing is a slip, too.
    if chosen.is_empty() || !names.iter().any(|name| matches(name)) {
        let parts = names.iter().filter_map(|name| name.split('.').next());
        let parts: BTreeSet<&str> = parts.collect();
        let parts = parts.into_iter().collect::<Vec<_>>().join(", ");
        let reason =
            format!("`{pattern}` matches no parameter that is trained; its parts are {parts}");
        return Err(Error::config(field, reason));
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use kd_core::Stream;
    use kd_models::ModelSpec;

    use super::*;

    fn resnet8() -> Net {
        let model = ModelSpec::from_name("resnet8").unwrap();
        let graph = model.as_dyn().graph([3, 32, 32], 10).unwrap();
        Net::new(graph, Stream::new(1), &Device::Cpu).unwrap()
    }

    fn trained(net: &Net) -> Vec<&str> {
        net.params().iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn patterns_choose_parameters_by_name_part_and_wildcard() {
        for (patterns, left) in [
            (vec!["!linear"], vec!["linear.bias", "linear.weight"]),
            (vec!["conv1.weight", "bn1", "layer*", "linear.weight"], vec!["linear.bias"]),
        ] {
            let mut net = resnet8();
            let patterns: Vec<String> = patterns.into_iter().map(String::from).collect();
            freeze(&mut net, &patterns).unwrap();
            assert_eq!(trained(&net), left);
        }
        let mut net = resnet8();
        freeze(&mut net, &["layer1".into()]).unwrap();
        assert!(trained(&net).iter().all(|name| !name.starts_with("layer1")));
        assert!(trained(&net).iter().any(|name| name.starts_with("layer2")));
    }

    #[test]
    fn what_matches_nothing_is_named_with_what_there_is() {
        let error = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|p| (*p).into()).collect();
            freeze(&mut resnet8(), &patterns).unwrap_err().to_string()
        };
        let nothing = error(&["classifier"]);
        assert!(
            nothing.contains("`classifier`") && nothing.contains("layer3, linear"),
            "{nothing}"
        );
        assert!(error(&["!classifier"]).contains("`!classifier` matches no parameter"));
        assert!(error(&["[a"]).contains("no pattern"));
        assert!(error(&["*"]).contains("no parameter to train"));
    }

    #[test]
    fn factors_belong_to_one_pattern_each() {
        let factors = |patterns: &[(&str, f64)]| {
            let patterns = patterns.iter().map(|(p, f)| ((*p).into(), *f)).collect();
            super::factors(&resnet8(), &patterns)
        };
        let some = factors(&[("linear", 10.0), ("conv1", 0.1)]).unwrap();
        let want = [("conv1.weight", 0.1), ("linear.bias", 10.0), ("linear.weight", 10.0)];
        assert_eq!(some, want.map(|(name, factor)| (name.to_owned(), factor)).into());
        let error = factors(&[("linear", 10.0), ("*.bias", 2.0)]).unwrap_err().to_string();
        assert!(error.contains("two patterns match `linear.bias`"), "{error}");
    }
}
