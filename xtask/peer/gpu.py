"""The PyTorch side of the speed bench on a GPU: training steps of 128 images.

    python xtask/peer/gpu.py --case resnet18-step --mode tf32 --json

Modes: f32, tf32 (matrix products and convolutions), amp (bf16 autocast); --compile adds torch.compile.
Networks are channels_last, optimizers fused, cuDNN may measure its algorithms (cudnn.benchmark); crops, flips
and normalization are left out on both sides. Steps go round over four batches on the GPU. A sample is the mean
of 20 steps, after which it waits for the GPU. Prints one object: case, mode, compile, median_ms, min_ms, gpu, torch.
"""

import argparse
import itertools
import json
import statistics
import time

import torch
import torch.nn.functional as F

import nets
from common import BATCH, distillation, mlp

GROUP, N_WARMUP = 20, 3


def networks() -> dict:
    """How each case's network is made, and the shape of an image."""
    return {
        "resnet18-step": (nets.resnet18, (3, 32, 32)),
        "resnet20-step": (nets.resnet20, (3, 32, 32)),
        "papernot-mnist-step": (nets.papernot_mnist, (1, 28, 28)),
        "papernot-cifar10-step": (nets.papernot_cifar10, (3, 32, 32)),
        "teacher-step": (lambda: mlp(1200, dropout=0.5), (784,)),
        "student30-step": (lambda: mlp(30), (784,)),
        "student300-step": (lambda: mlp(300), (784,)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=networks(), required=True)
    parser.add_argument("--mode", choices=["f32", "tf32", "amp"], default="f32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--steps", type=int, default=10, help="samples of 20 steps")
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.mode != "f32"
    torch.backends.cudnn.benchmark = True
    build, shape = networks()[args.case]
    is_image = len(shape) == 3
    layout = {"memory_format": torch.channels_last} if is_image else {}
    model = build().cuda().to(**layout).train()
    if is_image:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, fused=True)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    teacher = mlp(1200).cuda().eval() if args.case.startswith("student") else None
    if args.compile:
        model = torch.compile(model)
        teacher = teacher and torch.compile(teacher)
    batches = [
        (torch.randn(BATCH, *shape, device="cuda").to(**layout), torch.randint(0, 10, (BATCH,), device="cuda"))
        for _ in range(4)
    ]
    rounds = itertools.cycle(batches)

    def step() -> None:
        images, labels = next(rounds)
        with torch.autocast("cuda", torch.bfloat16, enabled=args.mode == "amp"):
            logits = model(images)
            if teacher is None:
                loss = F.cross_entropy(logits, labels)
            else:
                with torch.no_grad():
                    teacher_logits = teacher(images)
                loss = distillation(logits, teacher_logits, labels, 0.5, 5.0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    samples = []
    for _ in range(N_WARMUP + args.steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(GROUP):
            step()
        torch.cuda.synchronize()
        samples.append((time.perf_counter() - start) * 1e3 / GROUP)
    samples = samples[N_WARMUP:]
    print(
        json.dumps(
            {
                "case": args.case,
                "mode": args.mode,
                "compile": args.compile,
                "median_ms": statistics.median(samples),
                "min_ms": min(samples),
                "gpu": torch.cuda.get_device_name(),
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
