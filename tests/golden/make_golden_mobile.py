"""Writes the golden values of the networks that torchvision, timm and RepDistiller define, with PyTorch
in float64.

    python tests/golden/make_golden_mobile.py [--out DIR]

needs torchvision and timm beside torch. The rules of make_golden.py hold here too. RepDistiller's networks
(Tian et al. 2020) are written here from their description; their names are those of its published weights.
"""

import argparse
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
import torchvision
from make_golden import write
from networks import conv3x3, n_parameters, projection, step, value, wave
from torch import nn

N_IMAGES = 6


def conv_norm(n_in: int, n_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True) -> list:
    conv = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(n_out)] + [nn.ReLU()] * relu


class Basic(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(n_in, n_out, stride), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = conv3x3(n_out, n_out), nn.BatchNorm2d(n_out)
        self.downsample = projection(n_in, n_out, stride) if stride != 1 or n_in != n_out else nn.Identity()

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class ResNetX4(nn.Module):
    def __init__(self, depth: int, n_classes: int = 10):
        super().__init__()
        n, self.conv1, self.bn1, width = (depth - 2) // 6, conv3x3(3, 32), nn.BatchNorm2d(32), 32
        for stage, n_out in enumerate([64, 128, 256], 1):
            first = Basic(width, n_out, 1 if stage == 1 else 2)
            setattr(self, f"layer{stage}", nn.Sequential(first, *[Basic(n_out, n_out, 1) for _ in range(n - 1)]))
            width = n_out
        self.fc = nn.Linear(256, n_classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))


class Inverted(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int):
        super().__init__()
        wide = expansion * n_in
        layers = conv_norm(n_in, wide) + conv_norm(wide, wide, 3, stride, wide) + conv_norm(wide, n_out, relu=False)
        self.conv, self.adds = nn.Sequential(*layers), stride == 1 and n_in == n_out

    def forward(self, x):
        return self.conv(x) + x if self.adds else self.conv(x)


class CifarMobileNetV2(nn.Module):
    TABLE = [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]

    def __init__(self, width: float, n_classes: int = 10):
        super().__init__()
        n_in, stages = int(32 * width), []
        self.conv1 = nn.Sequential(*conv_norm(3, n_in, 3, 2))
        for expansion, channels, n, stride in self.TABLE:
            n_out = int(channels * width)
            first = Inverted(n_in, n_out, stride, expansion)
            stages.append(nn.Sequential(first, *[Inverted(n_out, n_out, 1, expansion) for _ in range(n - 1)]))
            n_in = n_out
        self.blocks, self.conv2 = nn.Sequential(*stages), nn.Sequential(*conv_norm(n_in, 1280))
        self.classifier = nn.Sequential(nn.Linear(1280, n_classes))

    def forward(self, x):
        return self.classifier(self.conv2(self.blocks(self.conv1(x))).mean((2, 3)))


def shuffle(x, groups: int):
    return torch.stack(x.chunk(groups, 1), 2).flatten(1, 2)


class Numbered(nn.Module):
    """Convolutions `conv1`, `conv2`, ... with their batch norms."""

    def add(self, *convs):
        for i, (n_in, n_out, kernel, stride, groups) in enumerate(convs, 1):
            conv, norm = conv_norm(n_in, n_out, kernel, stride, groups, relu=False)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"bn{i}", norm)

    def normed(self, i: int, x):
        return getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))

    def active(self, i: int, x):
        return F.relu(self.normed(i, x))


class Unit(Numbered):
    """ShuffleNet's."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.shrinks, self.groups = n_in != n_out, 1 if n_in == 24 else 3
        n_new, stride = (n_out - n_in, 2) if self.shrinks else (n_out, 1)
        n = n_new // 4
        self.add((n_in, n, 1, 1, self.groups), (n, n, 3, stride, n), (n, n_new, 1, 1, 3))

    def forward(self, x):
        y = self.normed(3, self.active(2, shuffle(self.active(1, x), self.groups)))
        return F.relu(torch.cat([y, F.avg_pool2d(x, 3, 2, 1)], 1) if self.shrinks else y + x)


class Shrink(Numbered):
    """ShuffleNetV2's block with stride 2."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        n = n_out // 2
        self.add((n_in, n_in, 3, 2, n_in), (n_in, n, 1, 1, 1), (n_in, n, 1, 1, 1), (n, n, 3, 2, n), (n, n, 1, 1, 1))

    def forward(self, x):
        left = self.active(2, self.normed(1, x))
        return shuffle(torch.cat([left, self.active(5, self.normed(4, self.active(3, x)))], 1), 2)


class Keep(Numbered):
    """ShuffleNetV2's block with stride 1."""

    def __init__(self, n: int):
        super().__init__()
        n //= 2
        self.add((n, n, 1, 1, 1), (n, n, 3, 1, n), (n, n, 1, 1, 1))

    def forward(self, x):
        left, right = x.chunk(2, 1)
        return shuffle(torch.cat([left, self.active(3, self.normed(2, self.active(1, right)))], 1), 2)


class CifarShuffleNet(Numbered):
    def __init__(self, version: int, n_classes: int = 10):
        super().__init__()
        widths, n_in = [(240, 480, 960), (116, 232, 464)][version - 1], 24
        self.add((3, 24, 1, 1, 1), *[(widths[2], 1024, 1, 1, 1)] * (version == 2))
        for stage, (n_out, n) in enumerate(zip(widths, [4, 8, 4]), 1):
            blocks = [Unit(n_in, n_out) if version == 1 else Shrink(n_in, n_out)]
            blocks += [Unit(n_out, n_out) if version == 1 else Keep(n_out) for _ in range(n - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            n_in = n_out
        self.version, self.linear = version, nn.Linear(n_in if version == 1 else 1024, n_classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.active(1, x))))
        return self.linear((self.active(2, x) if self.version == 2 else x).mean((2, 3)))


def case(model: dict, network: nn.Module, shape: list[int], rtol: float) -> dict:
    network = network.double()
    with torch.no_grad():
        for phase, (name, parameter) in enumerate(sorted(network.named_parameters())):
            parameter.copy_(value(phase, name, parameter.shape))
    images = wave(1, [N_IMAGES, *shape]).astype("float32").astype("float64")
    images = torch.from_numpy(images).requires_grad_()
    result = step(network, images, torch.arange(N_IMAGES) % 10)
    norms = {name: float(f"{parameter.grad.norm():.9g}") for name, parameter in sorted(network.named_parameters())}
    return {
        "model": model,
        "image_shape": shape,
        "n_images": N_IMAGES,
        "rtol": rtol,
        **result,
        "norm_of_grad_images": float(f"{images.grad.norm():.9g}"),
        "norms_of_grads": norms,
    }


def cases() -> list[dict]:
    tv, no_dropout = torchvision.models, {"dropout": 0.0}
    mobile = tv.mobilenet_v2(width_mult=0.5, dropout=0.0, num_classes=10)
    squeeze = tv.squeezenet1_1(dropout=0.0, num_classes=10)
    lite = timm.create_model("tf_efficientnet_lite0", num_classes=10)
    for module in lite.modules():  # timm's activations overwrite what they read
        if isinstance(module, nn.ReLU6):
            module.inplace = False
    shuffle = tv.shufflenet_v2_x0_5(num_classes=10)
    return [
        case({"kind": "cifar-resnet-x4", "depth": 8}, ResNetX4(8), [3, 15, 16], 1e-4),
        case({"kind": "mobilenet-v2", "width": 0.5, **no_dropout}, mobile, [3, 64, 57], 5e-3),
        case({"kind": "cifar-mobilenet-v2", "width": 0.25}, CifarMobileNetV2(0.25), [3, 32, 32], 5e-3),
        case({"kind": "shufflenet-v2", "width": 0.5}, shuffle, [3, 64, 57], 5e-3),
        case({"kind": "cifar-shufflenet-v1"}, CifarShuffleNet(1), [3, 32, 32], 5e-3),
        case({"kind": "cifar-shufflenet-v2"}, CifarShuffleNet(2), [3, 32, 32], 5e-3),
        case({"kind": "efficientnet-lite", **no_dropout}, lite, [3, 64, 57], 5e-3),
        case({"kind": "squeezenet", **no_dropout}, squeeze, [3, 40, 37], 1e-4),
    ]


def published() -> None:
    """Networks of which the number of parameters is published."""
    assert n_parameters(ResNetX4(8, 100)) == 1_233_540
    assert n_parameters(ResNetX4(32, 100)) == 7_433_860
    assert n_parameters(CifarMobileNetV2(0.5, 100)) == 812_836
    assert n_parameters(CifarShuffleNet(1, 100)) == 949_258
    assert n_parameters(CifarShuffleNet(2, 100)) == 1_355_528


RULES = [
    "parameters, images, labels, logits, loss and logits_eval as in networks.json",
    "norms_of_grads: the Euclidean norm of each parameter's gradient in training mode",
    "rtol of a case: relative to 1 for logits and loss, to the largest norm for the gradients' norms",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    published()
    body = {"torchvision": torchvision.__version__, "timm": timm.__version__, "cases": cases()}
    tolerance = {"atol": 1e-5, "rtol": 1e-4}
    write(parser.parse_args().out, "mobile_networks.json", RULES, tolerance, body, Path(__file__).name)


if __name__ == "__main__":
    main()
