"""PyTorch definitions of the networks of kd-models, written from the papers and from the names that
published weights use, and their golden values; for make_golden_conv.py."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# --- definitions ----------------------------------------------------------------------


def conv3x3(n_in: int, n_out: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, stride, 1, bias=bias)


def projection(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))


class Basic(nn.Module):
    """He et al. 2016; `shortcut` names the projection, which is None for option A."""

    def __init__(self, n_in: int, width: int, stride: int, shortcut: str | None):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(n_in, width, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv3x3(width, width), nn.BatchNorm2d(width)
        self.stride, self.pad, self.shortcut_name = stride, (width - n_in) // 2, shortcut
        if shortcut and (stride != 1 or n_in != width):
            setattr(self, shortcut, projection(n_in, width, stride))

    def skip(self, x):
        if self.shortcut_name and hasattr(self, self.shortcut_name):
            return getattr(self, self.shortcut_name)(x)
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.skip(x))


class Bottleneck(nn.Module):
    """With the stride in the 3x3 convolution."""

    def __init__(self, n_in: int, width: int, stride: int, shortcut: str):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv3x3(width, width, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        if stride != 1 or n_in != 4 * width:
            self.downsample = projection(n_in, 4 * width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet(nn.Module):
    def __init__(self, depth: int, stem: str = "imagenet", width: int = 64, n_in: int = 3, n_classes: int = 10):
        super().__init__()
        n_blocks = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}[depth]
        block, expansion = (Basic, 1) if depth < 50 else (Bottleneck, 4)
        large = stem == "imagenet"
        self.conv1 = nn.Conv2d(n_in, width, 7, 2, 3, bias=False) if large else conv3x3(n_in, width)
        self.bn1, self.maxpool = nn.BatchNorm2d(width), nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        n_in = width
        for stage, n in enumerate(n_blocks):
            n_mid, blocks = width << stage, []
            for i in range(n):
                blocks.append(block(n_in, n_mid, 2 if stage and not i else 1, "downsample"))
                n_in = n_mid * expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(n_in, n_classes)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class CifarResNet(nn.Module):
    def __init__(self, depth: int, shortcut: str = "a", n_in: int = 3, n_classes: int = 10):
        super().__init__()
        self.conv1, self.bn1, width = conv3x3(n_in, 16), nn.BatchNorm2d(16), 16
        for stage, n_out in enumerate([16, 32, 64]):
            blocks = []
            for i in range((depth - 2) // 6):
                blocks.append(Basic(width, n_out, 2 if stage and not i else 1, {"a": None, "b": "shortcut"}[shortcut]))
                width = n_out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, n_classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


class WideBlock(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(n_in), conv3x3(n_in, n_out, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(n_out), conv3x3(n_out, n_out)
        self.convShortcut = None if n_in == n_out else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x):
        active = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return y + (x if self.convShortcut is None else self.convShortcut(active))


class WideStage(nn.Module):
    def __init__(self, n: int, n_in: int, n_out: int, stride: int):
        super().__init__()
        sizes = [(n_in, n_out, stride)] + [(n_out, n_out, 1)] * (n - 1)
        self.layer = nn.Sequential(*[WideBlock(*size) for size in sizes])

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    def __init__(self, depth: int, widen: int, n_in: int = 3, n_classes: int = 10):
        super().__init__()
        n, width = (depth - 4) // 6, [16, 16 * widen, 32 * widen, 64 * widen]
        self.conv1 = conv3x3(n_in, 16)
        self.block1, self.block2, self.block3 = (
            WideStage(n, width[i], width[i + 1], 2 if i else 1) for i in range(3)
        )
        self.bn1, self.fc = nn.BatchNorm2d(width[3]), nn.Linear(width[3], n_classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


class Vgg(nn.Module):
    def __init__(self, depth: int, n_in: int = 3, n_classes: int = 10):
        super().__init__()
        n_convs = {8: 1, 13: 2}[depth]
        for stage, n_out in enumerate([64, 128, 256, 512, 512]):
            layers = []
            for _ in range(n_convs):
                layers += [conv3x3(n_in, n_out, bias=True), nn.BatchNorm2d(n_out), nn.ReLU()]
                n_in = n_out
            setattr(self, f"block{stage}", nn.Sequential(*layers[:-1]))
        self.classifier = nn.Linear(512, n_classes)

    def forward(self, x):
        side = x.shape[2]
        for stage in range(5):
            x = F.relu(getattr(self, f"block{stage}")(x))
            if stage < 3 or (stage == 3 and side == 64):
                x = F.max_pool2d(x, 2)
        return self.classifier(x.mean((2, 3)))


class Papernot(nn.Module):
    def __init__(self, variant: str, n_in: int, side: int, n_classes: int = 10):
        super().__init__()
        a, b, dense = {"mnist": (32, 64, 200), "cifar10": (64, 128, 256)}[variant]
        self.conv1, self.conv2 = nn.Conv2d(n_in, a, 3), nn.Conv2d(a, a, 3)
        self.conv3, self.conv4 = nn.Conv2d(a, b, 3), nn.Conv2d(b, b, 3)
        left = ((side - 4) // 2 - 4) // 2
        self.fc1, self.fc2 = nn.Linear(b * left * left, dense), nn.Linear(dense, dense)
        self.fc3 = nn.Linear(dense, n_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        x = F.max_pool2d(F.relu(self.conv4(F.relu(self.conv3(x)))), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


# --- golden values ------------------------------------------------------------------------


def wave(phase: int, shape) -> np.ndarray:
    """sin(phase + 0.37 * (i^2 mod 10007)) for i = 1, 2, ..., row-major: both sides can compute it."""
    i = np.arange(1, math.prod(shape) + 1, dtype=np.int64)
    return np.sin(phase + 0.37 * ((i * i) % 10007)).reshape(shape)


def value(phase: int, name: str, shape) -> torch.Tensor:
    """A parameter: weights of matrices and convolutions, then scales, then biases."""
    if len(shape) > 1:
        values = 2.0 / math.sqrt(math.prod(shape[1:])) * wave(phase, shape)
    else:
        values = (1.0 if name.endswith("weight") else 0.0) + 0.25 * wave(phase, shape)
    return torch.from_numpy(values.astype(np.float32).astype(np.float64))


def short(tensor: torch.Tensor) -> dict:
    """Enough of a large tensor to tell it from another."""
    values = [float(f"{v:.9g}") for v in tensor.detach().flatten()[:3].tolist()]
    return {"shape": list(tensor.shape), "norm": float(f"{tensor.norm():.9g}"), "first": values}


def step(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict:
    """A training forward and backward, then an evaluation with the running statistics as they are now."""
    network.train()
    logits = network(images)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    network.eval()
    with torch.no_grad():
        evaluated = network(images)
    return {"logits": logits.detach(), "loss": loss.item(), "logits_eval": evaluated}


def case(model: dict, network: nn.Module, shape: list[int], rtol: float = 1e-4) -> dict:
    """Fifty batch norms of few images amplify rounding a thousandfold: such a network needs another rtol."""
    n_images = 4
    network = network.double()
    with torch.no_grad():
        for phase, (name, parameter) in enumerate(sorted(network.named_parameters())):
            parameter.copy_(value(phase, name, parameter.shape))
    images = torch.from_numpy(wave(1, [n_images, *shape]).astype(np.float32).astype(np.float64)).requires_grad_()
    result = step(network, images, torch.arange(n_images) % 10)
    buffers = {n: b for n, b in network.named_buffers() if not n.endswith("num_batches_tracked")}
    return {
        "model": model,
        "image_shape": shape,
        "n_images": n_images,
        "rtol": rtol,
        **result,
        "grad_images": short(images.grad),
        "grads": {name: short(parameter.grad) for name, parameter in sorted(network.named_parameters())},
        "buffers": {name: short(buffer) for name, buffer in sorted(buffers.items())},
    }


def cases() -> list[dict]:
    small, resnet, papernot = [3, 16, 16], {"kind": "resnet"}, {"kind": "papernot"}
    return [
        case({"kind": "cifar-resnet", "depth": 8, "shortcut": "a"}, CifarResNet(8, "a"), small),
        case({"kind": "cifar-resnet", "depth": 8, "shortcut": "b"}, CifarResNet(8, "b"), [3, 13, 10]),
        case({**resnet, "depth": 18, "stem": "cifar", "width": 8}, ResNet(18, "cifar", 8), small),
        case({**resnet, "depth": 50, "stem": "imagenet", "width": 4}, ResNet(50, "imagenet", 4), [3, 40, 33], 5e-3),
        case({"kind": "wide-resnet", "depth": 16, "widen": 1}, WideResNet(16, 1), small),
        case({"kind": "vgg", "depth": 8}, Vgg(8), [3, 16, 16]),
        case({**papernot, "variant": "mnist"}, Papernot("mnist", 1, 28), [1, 28, 28]),
        case({**papernot, "variant": "cifar10"}, Papernot("cifar10", 3, 20), [3, 20, 20]),
    ]


def n_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def published() -> None:
    """Networks of which the number of parameters is published."""
    assert n_parameters(ResNet(18, n_classes=1000)) == 11_689_512
    assert n_parameters(ResNet(50, n_classes=1000)) == 25_557_032
    assert n_parameters(ResNet(18, "cifar")) == 11_173_962
    assert n_parameters(ResNet(101, "cifar")) == 42_512_970
    assert n_parameters(CifarResNet(20)) == 269_722
    assert n_parameters(CifarResNet(56)) == 853_018
    assert n_parameters(WideResNet(28, 10)) == 36_479_194
    assert n_parameters(Papernot("mnist", 1, 28)) == 312_202
    assert n_parameters(Papernot("cifar10", 3, 32)) == 1_147_978


def counts() -> list[dict]:
    """Trainable scalars of every network of the zoo, the large ones in their thin version."""
    depths = (18, 34, 50, 101, 152)
    large = {f"resnet{depth}-w8": ResNet(depth, width=8) for depth in depths}
    small = {f"resnet{depth}-cifar-w8": ResNet(depth, "cifar", 8) for depth in depths}
    tiny = {f"resnet{depth}": CifarResNet(depth) for depth in (8, 14, 20, 32, 44, 56, 110)}
    tiny_b = {f"resnet{depth}-b": CifarResNet(depth, "b") for depth in (8, 20, 56)}
    wide = {f"wrn-{depth}-{widen}": WideResNet(depth, widen) for depth, widen in [(16, 1), (16, 2), (40, 2), (28, 2)]}
    vgg = {f"vgg{depth}": Vgg(depth) for depth in (8, 13)}
    networks = {**large, **small, **tiny, **tiny_b, **wide, **vgg}
    return [{"name": name, "n_parameters": n_parameters(network)} for name, network in networks.items()]


def networks(_: np.random.Generator) -> dict:
    published()
    return {"cases": cases(), "counts": counts()}


RULES = [
    "parameters, sorted by name and numbered p = 0, 1, ...: value i = 1, 2, ... is sin(p + 0.37 * (i^2 mod 10007)), "
    "times 2 / sqrt(values per output) in tensors of two and more dimensions, else times 0.25, plus 1 in *.weight; "
    "images as a parameter with p = 1 but times 1; rounded to f32; label of image i: i mod 10",
    "logits, loss (cross entropy, batch mean) and grads in training mode; then buffers, and logits_eval with them",
    "short form of a tensor: shape, Euclidean norm, the first three values in row-major order",
    "rtol of a case: relative to 1 for logits and loss, to the root mean square for values of a tensor",
    "counts: trainable scalars, for images (3, 32, 32) of 10 classes",
]
