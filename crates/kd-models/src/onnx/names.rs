//! Names of nodes: those of PyTorch's modules, wherever the file still has them.

use std::collections::BTreeSet;

/// Names that are taken.
#[derive(Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// `name`, or with the first number that makes it a new one.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let name = if name.is_empty() { "node" } else { name };
        let numbered = (2..).map(|i| format!("{name}_{i}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let free = names.find(|name| !self.0.contains(name)).unwrap_or_default();
        self.0.insert(free.clone());
        free
    }
}

/// `layer1.0.conv1` of `layer1.0.conv1.weight`.
pub(super) fn of_parameter<'a>(origin: Option<&'a str>, part: &str) -> Option<&'a str> {
    let name = origin?.strip_suffix(part)?.strip_suffix('.')?;
    (!name.is_empty()).then_some(name)
}

/// `layer1.0.conv1` of PyTorch's `/layer1/layer1.0/conv1/Conv`, for an operator that has parameters;
/// `layer1.0.relu.Relu` for others.
pub(super) fn of_node(name: &str, has_parameters: bool) -> String {
    let Some(path) = name.strip_prefix('/') else { return name.replace('/', ".") };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        // A child of a list of modules repeats the list's name.
        let rest = parts.last().and_then(|last| part.strip_prefix(last));
        if rest.is_some_and(|rest| rest.starts_with('.')) {
            parts.pop();
        }
        parts.push(part);
    }
    if has_parameters && parts.len() > 1 {
        parts.pop();
    }
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_pytorchs_modules() {
        let of = |name| of_node(name, true);
        assert_eq!(of("/layer1/layer1.0/conv1/Conv"), "layer1.0.conv1");
        assert_eq!(of("/features/features.0/features.0.0/Conv"), "features.0.0");
        assert_eq!(of("/Gemm"), "Gemm");
        assert_eq!(of_node("/layer1/layer1.0/Add", false), "layer1.0.Add");
        assert_eq!(of("node_conv2d_3"), "node_conv2d_3");
        assert_eq!(of_parameter(Some("a.0.weight"), "weight"), Some("a.0"));
        assert_eq!(of_parameter(Some("onnx::Conv_1"), "weight"), None);
        let mut names = Names::default();
        assert_eq!([names.unique("a"), names.unique("a")], ["a", "a_2"]);
    }
}
