//! Which parameters of a network stay, and which learn faster than others.

use std::collections::{BTreeMap, BTreeSet};

use glob::Pattern;
use kd_core::ops::Op;
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

/// What the pattern of an operation begins with.
const OPERATION: &str = "op:";

/// Names of the trained parameters that `pattern` matches.
fn matching(net: &Net, field: &str, pattern: &str) -> Result<BTreeSet<String>> {
    let (text, wanted) = match pattern.strip_prefix('!') {
        Some(others) => (others, false),
        None => (pattern, true),
    };
    let matched = match text.strip_prefix(OPERATION) {
        Some(operation) => of_operation(net, field, operation)?,
        None => of_name(net, field, text)?,
    };
    let names = net.params().iter().map(|(name, _)| name);
    let chosen = names.filter(|name| matched.contains(*name) == wanted);
    let chosen: BTreeSet<String> = chosen.map(str::to_owned).collect();
    // All but nothing is a slip, too.
    if chosen.is_empty() || matched.is_empty() {
        return Err(no_match(net, field, pattern));
    }
    Ok(chosen)
}

/// The parameters whose name `pattern` matches, or the name of a part that they are of.
fn of_name(net: &Net, field: &str, pattern: &str) -> Result<BTreeSet<String>> {
    let compiled = Pattern::new(pattern)
        .map_err(|e| Error::config(field, format!("`{pattern}` is no pattern: {}", e.msg)))?;
    let matches = |name: &str| {
        let ends = name.match_indices('.').map(|(end, _)| end).chain([name.len()]);
        ends.into_iter().any(|end| compiled.matches(&name[..end]))
    };
    let names = net.params().iter().map(|(name, _)| name);
    Ok(names.filter(|name| matches(name)).map(str::to_owned).collect())
}

/// The parameters of all nodes that compute `operation`.
fn of_operation(net: &Net, field: &str, operation: &str) -> Result<BTreeSet<String>> {
    if !Op::NAMES.contains(&operation) {
        let names = Op::NAMES.join(", ");
        let reason = format!("`{operation}` is no operation; there are {names}");
        return Err(Error::config(field, reason));
    }
    let nodes = net.graph().nodes.iter().filter(|node| node.op.name() == operation);
    let nodes: BTreeSet<&str> = nodes.map(|node| node.name.as_str()).collect();
    let names = net.params().iter().map(|(name, _)| name);
    let is_of = |name: &&str| name.rsplit_once('.').is_some_and(|(node, _)| nodes.contains(node));
    Ok(names.filter(is_of).map(str::to_owned).collect())
}

fn no_match(net: &Net, field: &str, pattern: &str) -> Error {
    let parts = net.params().iter().filter_map(|(name, _)| name.split('.').next());
    let parts: BTreeSet<&str> = parts.collect();
    let parts = parts.into_iter().collect::<Vec<_>>().join(", ");
    let reason = format!("`{pattern}` matches no parameter that is trained; its parts are {parts}");
    Error::config(field, reason)
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
        freeze(&mut net, &["op:batch-norm".into()]).unwrap();
        assert!(trained(&net).iter().all(|name| !name.contains("bn")));
        assert!(trained(&net).contains(&"conv1.weight"));
        let mut net = resnet8();
        freeze(&mut net, &["!op:linear".into()]).unwrap();
        assert_eq!(trained(&net), ["linear.bias", "linear.weight"]);
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
        assert!(error(&["op:norm"]).contains("`norm` is no operation; there are"));
        assert!(error(&["op:layer-norm"]).contains("`op:layer-norm` matches no parameter"));
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
