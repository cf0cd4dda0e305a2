"""What the scripts share: networks, batches and equation 3 in PyTorch, and photographs in class folders."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH = 128
SIDE, PAD = 28, 2
MEAN, STD = 0.1307, 0.3081  # of MNIST's training pixels in [0, 1]


def mlp(hidden: int, dropout: float = 0.0) -> nn.Sequential:
    """784-hidden-hidden-10 with ReLU, and dropout after each hidden layer; PyTorch's default initialization."""
    drop = [nn.Dropout(dropout)] if dropout > 0 else []
    block = lambda n: [nn.Linear(n, hidden), nn.ReLU(inplace=True), *drop]  # noqa: E731
    return nn.Sequential(*block(SIDE * SIDE), *block(hidden), nn.Linear(hidden, 10))


def adam(model: nn.Module) -> torch.optim.Adam:
    """Adam in one fused kernel over all parameters, learning rate 0.001."""
    return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)


def normalize(pixels: Tensor) -> Tensor:
    """Bytes (N, 784) to f32 of mean 0 and standard deviation 1."""
    return pixels.float().mul_(1 / (255 * STD)).sub_(MEAN / STD)


class Crops:
    """Random 28x28 crops out of zero-padded images, a whole batch in one gather."""

    def __init__(self, images: Tensor):
        """Images: bytes (N, 28, 28)."""
        self.width = SIDE + 2 * PAD
        self.pixels = F.pad(images, (PAD, PAD, PAD, PAD)).reshape(-1)
        rows, columns = torch.arange(SIDE), torch.arange(SIDE)
        self.window = (rows[:, None] * self.width + columns).reshape(1, -1)

    def batch(self, indices: Tensor) -> Tensor:
        """Normalized crops (len(indices), 784), each with an offset of its own."""
        top, left = torch.randint(0, 2 * PAD + 1, (2, len(indices)))
        start = indices * self.width**2 + top * self.width + left
        return normalize(self.pixels.take(start[:, None] + self.window))


def distillation(student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, temperature: float) -> Tensor:
    """alpha T^2 H(q_teacher, q_student) + (1 - alpha) H(y, p_student), batch mean."""
    soft = F.cross_entropy(student / temperature, F.softmax(teacher / temperature, dim=1))
    return alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(student, labels)


def class_folders(photos: Path, out: Path) -> Path:
    """A folder of class folders: `photos` itself, or `out` with links to its files by class, the part before `_`."""
    files = sorted(path for path in photos.iterdir() if path.is_file())
    if not files:
        return photos
    for path in files:
        folder = out / path.name.split("_")[0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).symlink_to(path.resolve())
    return out
