"""Losses on logits, of any number of classes, that pass over what nobody labelled.

Common arguments: `logits` (N, C, …) float; with C = 1 the only class is what is sought, and
its probability is the sigmoid; with more the softmax is over C and class 0 is what is not
sought. `target` (N, …) uint8 classes, 255 = unlabelled. `weights` (N, …) or None: what each
pixel counts; NaN, and 0, mean that it does not. Where nothing counts, a loss is 0 and so are
its gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sluice.base.errors import ConfigError, DataError, ShapeMismatch
from sluice.training.options import CnnOptions, DataOptions, LossName, PixelOptions

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits and target to a scalar."""
UNLABELLED = 255
_EVEN = 0.5


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    class_weights: Sequence[float] = (),
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy of the labelled pixels; of two classes, binary cross-entropy.

    Args:
        logits: See above.
        target: See above.
        weights: See above.
        class_weights: What a pixel of each class counts; with one channel two numbers, for what
            is not sought and for what is. The mean is by weight.
        label_smoothing: Share of each label that is given to all classes alike.

    Returns:
        Scalar.

    Raises:
        ShapeMismatch: Shapes that do not belong together.
    """
    logs, classes, counts = _prepared(logits, target, weights, class_weights)
    chosen = logs.gather(1, classes.unsqueeze(1)).squeeze(1)
    chosen = (1 - label_smoothing) * chosen + label_smoothing * logs.mean(dim=1)
    return _mean(-chosen, counts)


def focal(
    logits: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    gamma: float = 2.0,
    class_weights: Sequence[float] = (),
) -> Tensor:
    """Cross-entropy in which a pixel of probability p counts (1 - p) ** gamma.

    Args:
        logits: See above.
        target: See above.
        weights: See above.
        gamma: 0 is cross-entropy.
        class_weights: As for `cross_entropy`. The mean is by weight, without the factor.

    Returns:
        Scalar.

    Raises:
        ShapeMismatch: Shapes that do not belong together.

    Source:
        Lin et al. 2017, doi:10.1109/ICCV.2017.324.
    """
    logs, classes, counts = _prepared(logits, target, weights, class_weights)
    chosen = logs.gather(1, classes.unsqueeze(1)).squeeze(1)
    # 1 - p as a sum of the others' probabilities: near p = 1 a difference would be rounded away,
    # and its power has no gradient at 0.
    others = torch.logsumexp(
        logs.masked_fill(F.one_hot(classes, logs.shape[1]).movedim(-1, 1).bool(), -torch.inf), dim=1
    )
    return _mean(-chosen * torch.exp(gamma * others), counts)


def tversky(
    logits: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    any_sum: bool = False,
    smooth: float = 1.0,
) -> Tensor:
    """1 - (TP + s) / (TP + alpha FP + beta FN + s), the mean over the classes that are sought.

    TP, FP and FN are sums of probabilities over all pixels of the batch, so that chips without
    anything sought count as false alarms and not as undefined.

    Args:
        logits: See above.
        target: See above.
        weights: See above.
        alpha: What a false alarm counts.
        beta: What a miss counts. alpha = beta = 0.5 is the Dice loss.
        any_sum: Allow alpha + beta other than 1. Which of two maps is better depends on their
            ratio alone; a larger sum makes the loss flat where little is right yet.
        smooth: s, in pixels.

    Returns:
        Scalar in [0, 1].

    Raises:
        ConfigError: alpha + beta is not 1, or one is negative.
        ShapeMismatch: Shapes that do not belong together.

    Source:
        Salehi et al. 2017, doi:10.1007/978-3-319-67389-9_44.
    """
    if alpha < 0 or beta < 0 or (not any_sum and not math.isclose(alpha + beta, 1)):
        raise ConfigError(
            f"Tversky's alpha {alpha:g} and beta {beta:g} sum to {alpha + beta:g}; choose two that "
            "sum to 1, neither negative"
        )
    logs, classes, counts = _prepared(logits, target, weights, ())
    probability = logs.exp()
    truth = F.one_hot(classes, logs.shape[1]).movedim(-1, 1).to(probability.dtype)
    counts = counts.unsqueeze(1)
    axes = (0, *range(2, probability.ndim))
    hits = (counts * probability * truth).sum(axes)
    alarms = (counts * probability * (1 - truth)).sum(axes)
    misses = (counts * (1 - probability) * truth).sum(axes)
    index = (hits + smooth) / (hits + alpha * alarms + beta * misses + smooth)
    return (1 - index[1:]).mean()


def dice(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, *, smooth: float = 1.0
) -> Tensor:
    """1 - (2 TP + 2 s) / (2 TP + FP + FN + 2 s), the mean over the classes that are sought.

    Args:
        logits: See above.
        target: See above.
        weights: See above.
        smooth: s, in pixels.

    Returns:
        Scalar in [0, 1].

    Raises:
        ShapeMismatch: Shapes that do not belong together.

    Source:
        Milletari et al. 2016, doi:10.1109/3DV.2016.79.
    """
    return tversky(logits, target, weights, alpha=_EVEN, beta=_EVEN, smooth=smooth)


def choose_loss(options: PixelOptions, class_pixels: Sequence[int]) -> Loss:
    """The loss of pixels that the options name.

    Args:
        options: Of the training.
        class_pixels: Labelled training pixels of each class, for balanced weights.

    Returns:
        From logits and target to a scalar.

    Raises:
        ConfigError: Not as many class weights as classes.
        DataError: A class has no pixel.
    """
    if options.loss == "tversky":
        return lambda logits, target: tversky(
            logits,
            target,
            alpha=options.alpha,
            beta=options.beta,
            any_sum=options.free_alpha_beta,
        )
    if options.loss == "dice":
        return dice
    return _choose_entropy(options.loss, options, class_pixels)


def choose_window_loss(options: CnnOptions, class_chips: Sequence[int]) -> Loss:
    """The loss of windows that the options name.

    Overlap (Dice, Tversky) is not among them: it is of regions, and the few windows of a batch
    are none.

    Args:
        options: Of the training.
        class_chips: Training chips with nothing sought and with something, for balanced weights.

    Returns:
        From logits and target to a scalar.

    Raises:
        DataError: A class has no chip.
    """
    return _choose_entropy(options.loss, options, class_chips, options.label_smoothing)


def _choose_entropy(
    name: LossName, options: DataOptions, counts: Sequence[int], label_smoothing: float = 0.0
) -> Loss:
    given = options.class_weights
    if given and len(given) != len(counts):
        raise ConfigError(
            f"class_weights has {len(given)} numbers and there are {len(counts)} classes; "
            "give one for each"
        )
    weights = () if name == "bce" else given or balanced_weights(counts)
    if name == "focal":
        return lambda logits, target: focal(
            logits, target, gamma=options.gamma, class_weights=weights
        )
    return lambda logits, target: cross_entropy(
        logits, target, class_weights=weights, label_smoothing=label_smoothing
    )


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights by which every class counts alike, and a pixel, or a chip, 1 on average.

    Raises:
        DataError: A class has none.
    """
    if min(counts) <= 0:
        raise DataError(
            f"class {list(counts).index(min(counts))} has no label among the "
            "training chips; add such chips, or leave the class out"
        )
    total, classes = sum(counts), len(counts)
    return tuple(total / (classes * count) for count in counts)


def _prepared(
    logits: Tensor, target: Tensor, weights: Tensor | None, class_weights: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities (N, C >= 2, …), classes (N, …) and what each pixel counts (N, …)."""
    expected = (logits.shape[0], *logits.shape[2:])
    shapes = [tuple(target.shape)] + ([tuple(weights.shape)] if weights is not None else [])
    if logits.ndim < 2 or any(shape != expected for shape in shapes):
        raise ShapeMismatch(
            f"logits {tuple(logits.shape)} need targets and weights {expected}, got {shapes}"
        )
    # Sums over many pixels need more digits than a mixed-precision pass gives.
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if logits.shape[1] == 1:
        logs = torch.cat((F.logsigmoid(-logits), F.logsigmoid(logits)), dim=1)
    else:
        logs = F.log_softmax(logits, dim=1)
    counted = target != UNLABELLED
    if weights is not None:
        counted &= torch.isfinite(weights)
    classes = torch.where(counted, target, torch.zeros_like(target)).long()
    counts = counted.to(logs.dtype)
    if weights is not None:
        counts = torch.where(counted, weights.to(logs.dtype), torch.zeros_like(counts))
    if class_weights:
        counts = counts * torch.tensor(class_weights, dtype=logs.dtype, device=logs.device)[classes]
    return logs, classes, counts


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    total = counts.sum()
    # Nothing labelled: 0, with gradients of 0, rather than 0 / 0.
    return (values * counts).sum() / torch.where(total > 0, total, torch.ones_like(total))
