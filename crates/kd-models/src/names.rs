//! Parameter names of other code bases.

/// Whose names a file of weights uses for a [`crate::ResNet`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Names {
    /// torchvision's, which are ours: `layer2.0.downsample.0.weight`, `fc.weight`.
    #[default]
    Torchvision,
    /// Those of kuangliu's pytorch-cifar and, after it, of Li 2018:
    /// `layer2.0.shortcut.0.weight`, `linear.weight`.
    Li2018,
}

/// A part of our names and of theirs.
type Pair = (&'static str, &'static str);

/// Li 2018's.
const LI2018: [Pair; 2] = [("downsample", "shortcut"), ("fc", "linear")];

impl Names {
    /// All, with the words that choose them.
    pub const ALL: [(&str, Self); 2] =
        [("torchvision", Self::Torchvision), ("li2018", Self::Li2018)];

    /// Our name of the tensor that is called `name` there; other names stay as they are.
    pub fn import(self, name: &str) -> String {
        self.rename(name, |(ours, theirs)| (theirs, ours))
    }

    /// Their name of the tensor that is called `name` here; other names stay as they are.
    pub fn export(self, name: &str) -> String {
        self.rename(name, |pair| pair)
    }

    /// Replaces the parts between the dots; `direction` turns a pair of parts into (from, to).
    fn rename(self, name: &str, direction: fn(Pair) -> Pair) -> String {
        let pairs: &[Pair] = match self {
            Self::Torchvision => &[],
            Self::Li2018 => &LI2018,
        };
        let swap = |part| {
            let mut pairs = pairs.iter().map(|pair| direction(*pair));
            pairs.find(|(from, _)| *from == part).map_or(part, |(_, to)| to)
        };
        name.split('.').map(swap).collect::<Vec<_>>().join(".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_travel_both_ways() {
        for (ours, theirs) in [
            ("layer2.0.downsample.0.weight", "layer2.0.shortcut.0.weight"),
            ("layer4.0.downsample.1.running_mean", "layer4.0.shortcut.1.running_mean"),
            ("fc.bias", "linear.bias"),
            ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ] {
            assert_eq!(Names::Li2018.export(ours), theirs);
            assert_eq!(Names::Li2018.import(theirs), ours);
            assert_eq!(Names::Torchvision.import(ours), ours);
            assert_eq!(Names::Torchvision.export(ours), ours);
        }
    }
}
