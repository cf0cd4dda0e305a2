"""The convolutional networks of the speed bench in PyTorch: ResNets for 32x32 images, Papernot's CNNs."""

import torch.nn.functional as F
from torch import Tensor, nn


def conv_norm(n_in: int, n_out: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out))


class Halve(nn.Module):
    """Shortcut of option A (He et al. 2015): every second pixel, new channels zero."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.pad = (n_out - n_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut around them."""

    def __init__(self, n_in: int, n_out: int, stride: int, shortcut: nn.Module):
        super().__init__()
        self.first, self.second = conv_norm(n_in, n_out, 3, stride), conv_norm(n_out, n_out, 3, 1)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x), inplace=True))
        return F.relu(y + self.shortcut(x), inplace=True)


def resnet(widths: list[int], n_blocks: int, project: bool) -> nn.Sequential:
    """3x3 stem, stages of n_blocks blocks; where a stage halves the image, its shortcut projects or is of option A."""
    layers, n_in = [conv_norm(3, widths[0], 3, 1), nn.ReLU(inplace=True)], widths[0]
    for stage, width in enumerate(widths):
        for i in range(n_blocks):
            stride = 2 if stage > 0 and i == 0 else 1
            shortcut = nn.Identity()
            if stride == 2:
                shortcut = conv_norm(n_in, width, 1, 2) if project else Halve(n_in, width)
            layers.append(Block(n_in, width, stride, shortcut))
            n_in = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, 10))


def papernot(n_channels: int, width: int, n_flat: int, n_hidden: int) -> nn.Sequential:
    """Four 3x3 convolutions without padding, two max-pools, two hidden layers; dropout between the linear layers."""
    conv = lambda n_in, n_out: [nn.Conv2d(n_in, n_out, 3), nn.ReLU(inplace=True)]  # noqa: E731
    return nn.Sequential(
        *[*conv(n_channels, width), *conv(width, width), nn.MaxPool2d(2)],
        *[*conv(width, 2 * width), *conv(2 * width, 2 * width), nn.MaxPool2d(2), nn.Flatten()],
        *[nn.Linear(n_flat, n_hidden), nn.ReLU(inplace=True), nn.Dropout(0.5)],
        *[nn.Linear(n_hidden, n_hidden), nn.ReLU(inplace=True), nn.Linear(n_hidden, 10)],
    )


class Inverted(nn.Module):
    """MobileNetV2's block as RepDistiller has it: 1x1 to six times as many channels, 3x3 for each alone, 1x1 to fewer."""

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int):
        super().__init__()
        wide = n_in * expansion
        depthwise = nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False)
        self.conv = nn.Sequential(
            *[conv_norm(n_in, wide, 1, 1), nn.ReLU(inplace=True)],
            *[depthwise, nn.BatchNorm2d(wide), nn.ReLU(inplace=True), conv_norm(wide, n_out, 1, 1)],
        )
        self.has_shortcut = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return x + y if self.has_shortcut else y


def mobilenet_v2_cifar() -> nn.Sequential:
    """RepDistiller's MobileNetV2 of half width for 32x32 images."""
    rows = [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    layers, n_in = [conv_norm(3, 16, 3, 2), nn.ReLU(inplace=True)], 16
    for expansion, channels, n_blocks, stride in rows:
        for i in range(n_blocks):
            layers.append(Inverted(n_in, channels // 2, stride if i == 0 else 1, expansion))
            n_in = channels // 2
    head = [conv_norm(n_in, 1280, 1, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *head, nn.Linear(1280, 10))


def mobilenet_v2() -> nn.Module:
    from torchvision.models import mobilenet_v2 as network

    return network(num_classes=10)


def resnet18_large() -> nn.Module:
    """For photographs."""
    from torchvision.models import resnet18 as network

    return network(num_classes=10)


def resnet50() -> nn.Module:
    from torchvision.models import resnet50 as network

    return network(num_classes=10)


def efficientnet_lite0() -> nn.Module:
    import timm

    return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=10)


def resnet18() -> nn.Sequential:
    return resnet([64, 128, 256, 512], 2, project=True)


def resnet20() -> nn.Sequential:
    return resnet([16, 32, 64], 3, project=False)


def resnet56() -> nn.Sequential:
    return resnet([16, 32, 64], 9, project=False)


def papernot_mnist() -> nn.Sequential:
    return papernot(1, 32, 64 * 4 * 4, 200)


def papernot_cifar10() -> nn.Sequential:
    return papernot(3, 64, 128 * 5 * 5, 256)
