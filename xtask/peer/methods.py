"""Fourteen objectives on logits in plain PyTorch, with the settings that kd's have by default: student's logits,
teacher's logits and labels to a scalar. Those without a teacher take none of its time.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def kl(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    q, p = F.softmax(teacher / temperature, 1), F.log_softmax(student / temperature, 1)
    return F.kl_div(p, q, reduction="batchmean")


def standardized(z: Tensor) -> Tensor:
    return (z - z.mean(1, keepdim=True)) / (z.std(1, keepdim=True) + 1e-7)


def without(z: Tensor, mask: Tensor) -> Tensor:
    return z.masked_fill(mask, -1e9)


def label_smoothing(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(s, y, label_smoothing=0.1)


def distill(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    return 0.5 * 25 * F.cross_entropy(s / 5, F.softmax(t / 5, 1)) + 0.5 * F.cross_entropy(s, y)


def regression(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    return 0.5 * (s - t).square().sum(1).mean()


def dkd(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    mask = F.one_hot(y, s.shape[1]).bool()
    p, q = F.softmax(s / 4, 1)[mask], F.softmax(t / 4, 1)[mask]
    binary = F.kl_div(torch.stack([p, 1 - p], 1).log(), torch.stack([q, 1 - q], 1), reduction="batchmean")
    return F.cross_entropy(s, y) + 16 * (binary + 8 * kl(without(t, mask), without(s, mask), 4))


def nkd(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    mask = F.one_hot(y, s.shape[1]).bool()
    target = -(F.softmax(t, 1)[mask] * F.log_softmax(s, 1)[mask]).mean()
    others = F.cross_entropy(without(s, mask), F.softmax(without(t, mask), 1))
    return F.cross_entropy(s, y) + target + 1.5 * others


def correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return F.cosine_similarity(a, b, dim=1).mean()


def dist(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    p, q = F.softmax(s / 4, 1), F.softmax(t / 4, 1)
    apart = 2 * (1 - correlation(p, q)) + 2 * (1 - correlation(p.T, q.T))
    return F.cross_entropy(s, y) + 16 * apart


def on_standardized(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    return 0.1 * F.cross_entropy(s, y) + 36 * kl(standardized(t), standardized(s), 2)


def ttm(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(s, y) + 45 * F.kl_div(F.log_softmax(s, 1), F.softmax(0.1 * t, 1), reduction="batchmean")


def norm_kd(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    own, theirs = s.std(1, keepdim=True), t.std(1, keepdim=True)
    terms = F.kl_div(F.log_softmax(s / own, 1), F.softmax(t / theirs, 1), reduction="none").sum(1, keepdim=True)
    return 0.5 * F.cross_entropy(s, y) + 0.5 * (theirs.square() * terms).mean()


def rld(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    p, q = F.softmax(s, 1).gather(1, y[:, None]), F.softmax(t, 1).amax(1, keepdim=True)
    binary = F.kl_div(torch.cat([p, 1 - p], 1).log(), torch.cat([q, 1 - q], 1), reduction="batchmean")
    mask = t >= t.gather(1, y[:, None])
    return F.cross_entropy(s, y) + binary + 8 * 16 * kl(without(t, mask), without(s, mask), 4)


def abkd(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    a, b = 0.8, 0.3
    p, q = F.softmax(s / 4, 1), F.softmax(t / 4, 1)
    terms = q.pow(a) * p.pow(b) - a / (a + b) * q.pow(a + b) - b / (a + b) * p.pow(a + b)
    return F.cross_entropy(s, y) - 64 / (a * b) * terms.sum(1).mean()


def teacher_free(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    made_up = torch.full_like(s, 0.01 / (s.shape[1] - 1)).scatter_(1, y[:, None], 0.99)
    return 0.9 * F.cross_entropy(s, y) + 0.1 * 400 * kl(made_up.log(), s, 20)


def confidence_penalty(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    log_p = F.log_softmax(s, 1)
    return F.cross_entropy(s, y) + 0.1 * (log_p.exp() * log_p).sum(1).mean()


class Ctkd:
    """Its temperature is learned against the student; the gradient's sign is turned in a hook."""

    def __init__(self):
        self.theta = torch.ones(1, requires_grad=True)
        self.theta.register_hook(torch.neg)

    def __call__(self, s: Tensor, t: Tensor, y: Tensor) -> Tensor:
        temperature = 1 + 20 * torch.sigmoid(self.theta)
        return 0.1 * F.cross_entropy(s, y) + 0.9 * temperature.square().squeeze() * kl(t, s, temperature)


# The objective, and whether it has a teacher.
METHODS = [
    *[(label_smoothing, False), (distill, True), (regression, True), (dkd, True), (nkd, True), (dist, True)],
    *[(on_standardized, True), (ttm, True), (norm_kd, True), (rld, True), (abkd, True), (teacher_free, False)],
    *[(confidence_penalty, False), (Ctkd(), True)],
]
