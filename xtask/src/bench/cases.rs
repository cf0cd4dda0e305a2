//! The cases: what is timed, beside whom, and what is to be reached.

/// A piece of work that both sides know by its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(super) name: &'static str,
    /// What both sides call the work.
    pub(super) work: &'static str,
    /// The same in words.
    what: &'static str,
    /// The most that kd's time may be of the peer's.
    pub(super) target: Option<f64>,
    /// The most that kd's memory may be of the peer's.
    pub(super) memory: Option<f64>,
    /// The images a second that kd must reach, where there is no peer.
    pub(super) rate: Option<f64>,
    pub(super) peer: Peer,
}

/// Who does the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    PyTorch,
    /// Evaluation only.
    Onnxruntime,
    /// candle-nn's layers and optimizer, as they are.
    Candle,
    /// kd on one thread.
    OneThread,
}

pub(super) const CASES: [Case; 24] = [
    Case::step("teacher-step", "training step of the 1200-unit teacher", 0.62),
    Case::step("student30-step", "distillation step, 30 units, teacher forward included", 0.55),
    Case::step("student300-step", "distillation step, 300 units, teacher forward included", 0.55),
    Case::step("grid30-epoch", "epoch of ten 30-unit students: Table 1's grid and baseline", 0.25),
    Case {
        memory: Some(0.6),
        ..Case::step("resnet18-step", "training step of ResNet-18 (CIFAR stem)", 0.55)
    },
    Case::step("resnet20-step", "training step of ResNet-20", 0.7),
    Case::step("grid-resnet20-step", "step of ten students: ResNet-20s of a ResNet-56", 0.35),
    Case::step("methods-step", "step of fourteen methods: ResNet-20s of a ResNet-56", 0.4),
    Case::step(
        "resnet18-distillation-step",
        "distillation step, ResNet-50 to ResNet-18, 224 pixels",
        0.65,
    ),
    Case::step("papernot-mnist-step", "training step of Papernot's network for MNIST", 0.65),
    Case::step("papernot-cifar10-step", "training step of Papernot's network for CIFAR-10", 0.6),
    Case::step("resnet56-eval", "evaluation of ResNet-56", 0.42),
    Case::step(
        "mobilenet-v2-cifar-step",
        "training step of half-width MobileNetV2, 32 pixels",
        0.9,
    ),
    Case::step("mobilenet-v2-eval", "evaluation of MobileNetV2, 224 pixels", 0.8),
    Case::step("efficientnet-lite0-eval", "evaluation of EfficientNet-Lite0, 224 pixels", 0.7),
    Case { rate: Some(1e5), ..Case::untargeted("cifar-batches", "training batch of CIFAR-10") },
    Case::step("photos-train", "training batch of photographs: decode, random crop, flip", 0.5),
    Case::step("photos-eval", "evaluation batch of photographs: decode, resize, crop", 0.5),
    Case::step("photos-packed", "training batch out of a pack, against files", 0.333),
    Case {
        target: Some(0.588),
        ..Case::beside(
            Peer::OneThread,
            ["photos-threads", "photos-train"],
            "training batch on two threads, against one (kd alone)",
        )
    },
    Case::beside(
        Peer::Onnxruntime,
        ["onnxruntime-resnet56-eval", "resnet56-eval"],
        "evaluation of ResNet-56, beside onnxruntime",
    ),
    Case::beside(
        Peer::Onnxruntime,
        ["onnxruntime-mobilenet-v2-eval", "mobilenet-v2-eval"],
        "evaluation of MobileNetV2, beside onnxruntime",
    ),
    Case::beside(
        Peer::Onnxruntime,
        ["onnxruntime-efficientnet-lite0-eval", "efficientnet-lite0-eval"],
        "evaluation of EfficientNet-Lite0, beside onnxruntime",
    ),
    Case::beside(
        Peer::Candle,
        ["candle-teacher-step", "teacher-step"],
        "the teacher's step, beside candle as it is",
    ),
];

impl Case {
    const fn untargeted(name: &'static str, what: &'static str) -> Self {
        let (target, memory, rate) = (None, None, None);
        Self { name, work: name, what, target, memory, rate, peer: Peer::PyTorch }
    }

    const fn step(name: &'static str, what: &'static str, target: f64) -> Self {
        Self { target: Some(target), ..Self::untargeted(name, what) }
    }

    /// The `work` of another case beside another peer.
    const fn beside(peer: Peer, [name, work]: [&'static str; 2], what: &'static str) -> Self {
        Self { work, peer, ..Self::untargeted(name, what) }
    }

    /// Whether it reads the photographs of `--photos`.
    pub(super) fn has_photos(&self) -> bool {
        self.work.starts_with("photos-")
    }
}

/// What the case of this name is, in words; none where it lacks a peer.
pub(crate) fn work_beside_a_peer(case: &str) -> Option<&'static str> {
    let beside = |case: &&Case| case.rate.is_none() && case.peer != Peer::OneThread;
    CASES.iter().filter(beside).find(|known| known.name == case).map(|known| known.what)
}

/// What the case of this name is, in words.
pub(crate) fn work(case: &str) -> Option<&'static str> {
    CASES.iter().find(|known| known.name == case).map(|known| known.what)
}
