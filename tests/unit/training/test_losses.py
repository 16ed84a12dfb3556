"""Losses against closed forms, by hand and in plain numpy, and their gradients."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch", reason="training needs torch: make test EXTRAS=dev,train")

from sluice.base.errors import ConfigError, DataError, ShapeMismatch  # noqa: E402
from sluice.training.losses import (  # noqa: E402
    balanced_weights,
    choose_loss,
    choose_window_loss,
    cross_entropy,
    dice,
    focal,
    tversky,
)
from sluice.training.options import CnnOptions, UNetOptions  # noqa: E402

LOSSES = [cross_entropy, dice, tversky, focal]


def example(classes=2, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 3, 4, generator=generator, dtype=dtype)
    target = torch.randint(max(classes, 2), (2, 3, 4), generator=generator, dtype=torch.uint8)
    target[0, 0] = 255
    return logits, target


def test_cross_entropy_of_even_logits_is_the_logarithm_of_the_classes():
    _, target = example(4)
    assert float(cross_entropy(torch.zeros(2, 4, 3, 4), target)) == pytest.approx(math.log(4))


@pytest.mark.parametrize("weights", [(), (1.0, 5.0)])
def test_one_channel_is_two_channels_of_which_the_first_is_zero(weights):
    logits, target = example(1)
    two = torch.cat((torch.zeros_like(logits), logits), dim=1)
    for loss in (cross_entropy, focal):
        one = loss(logits, target, class_weights=weights)
        assert torch.allclose(one, loss(two, target, class_weights=weights))


def test_binary_cross_entropy_is_torchs():
    logits, target = example(1)
    known = target != 255
    plain = torch.nn.functional.binary_cross_entropy_with_logits
    expected = plain(logits[:, 0][known], target[known].float())
    assert torch.allclose(cross_entropy(logits, target), expected)
    smooth = plain(logits[:, 0][known], target[known].float() * 0.9 + 0.05)
    assert torch.allclose(cross_entropy(logits, target, label_smoothing=0.1), smooth)


def test_weighted_cross_entropy_is_torchs():
    logits, target = example(3)
    weights = (0.5, 2.0, 3.0)
    expected = torch.nn.functional.cross_entropy(
        logits, target.long(), torch.tensor(weights), ignore_index=255
    )
    assert torch.allclose(cross_entropy(logits, target, class_weights=weights), expected)


def test_dice_and_tversky_by_plain_sums():
    logits, target = example(3, seed=3)
    p = torch.softmax(logits, 1).numpy()
    known = target.numpy() != 255
    for alpha, beta in ((0.5, 0.5), (0.3, 0.7)):
        terms = []
        for k in (1, 2):
            truth = (target.numpy() == k)[known]
            q = p[:, k][known]
            hits, alarms, misses = q[truth].sum(), q[~truth].sum(), (1 - q[truth]).sum()
            terms.append(1 - (hits + 1) / (hits + alpha * alarms + beta * misses + 1))
        found = float(tversky(logits, target, alpha=alpha, beta=beta))
        assert found == pytest.approx(np.mean(terms), rel=1e-5)
    assert float(dice(logits, target)) == float(tversky(logits, target, alpha=0.5, beta=0.5))


def test_the_sum_of_alpha_and_beta_changes_no_order():
    # Four times both makes a steeper curve of the same figure: no other map becomes the best.
    for seed in range(5):
        logits, target = example(2, seed=seed)
        one = 1 - float(tversky(logits, target, alpha=0.3, beta=0.7, smooth=0))
        four = tversky(logits, target, alpha=1.2, beta=2.8, any_sum=True, smooth=0)
        assert 1 - float(four) == pytest.approx(1 / (1 + 4 * (1 / one - 1)), rel=1e-4)


def test_dice_of_known_counts():
    # Four pixels, sure of themselves: one hit, one alarm, one miss, one right refusal.
    sure = 50.0
    logits = torch.tensor([sure, sure, -sure, -sure]).view(1, 1, 2, 2)
    target = torch.tensor([1, 0, 1, 0], dtype=torch.uint8).view(1, 2, 2)
    assert float(dice(logits, target, smooth=0)) == pytest.approx(1 - 2 / (2 + 1 + 1))
    assert float(tversky(logits, target, alpha=0.2, beta=0.8, smooth=0)) == pytest.approx(0.5)


def test_focal_of_a_known_probability():
    p = 0.8
    logits = torch.full((1, 1, 1, 1), math.log(p / (1 - p)))
    target = torch.ones(1, 1, 1, dtype=torch.uint8)
    assert float(focal(logits, target, gamma=2)) == pytest.approx(-((1 - p) ** 2) * math.log(p))
    logits, target = example(3)
    assert torch.allclose(focal(logits, target, gamma=0), cross_entropy(logits, target))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_gradients(loss, classes):
    logits, target = example(classes, seed=1, dtype=torch.float64)
    weights = torch.rand(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    weights[1, 1, 1] = torch.nan
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda given: loss(given, target, weights), (logits,))


@pytest.mark.parametrize("loss", LOSSES)
def test_what_nobody_labelled_changes_nothing(loss):
    logits, target = example(2)
    weights = torch.ones(2, 3, 4)
    weights[1, 2] = torch.nan
    changed = logits.clone()
    changed[0, :, 0] = 40.0
    changed[1, :, 2] = -40.0
    assert torch.equal(loss(logits, target, weights), loss(changed, target, weights))


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_labelled_gives_zero_gradients(loss):
    logits, target = example(2)
    logits.requires_grad_()
    value = loss(logits, torch.full_like(target, 255))
    value.backward()
    assert float(value.detach()) == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("loss", LOSSES)
def test_extreme_logits_stay_finite(loss):
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]]).view(1, 2, 2, 1).requires_grad_()
    value = loss(logits, torch.tensor([1, 1], dtype=torch.uint8).view(1, 2, 1))
    value.backward()
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(logits.grad).all())


def test_tversky_wants_a_sum_of_one():
    logits, target = example(2)
    with pytest.raises(ConfigError, match=r"sum to 1\.4"):
        tversky(logits, target, alpha=0.7, beta=0.7)
    assert float(tversky(logits, target, alpha=0.7, beta=0.7, any_sum=True)) > 0
    with pytest.raises(ValidationError, match=r"sum to 1\.4"):
        UNetOptions(loss="tversky", alpha=0.7, beta=0.7)
    UNetOptions(loss="tversky", alpha=0.7, beta=0.7, free_alpha_beta=True)


def test_shapes_that_do_not_belong_together_are_refused():
    logits, target = example(2)
    with pytest.raises(ShapeMismatch, match="need targets"):
        cross_entropy(logits, target[:1])
    with pytest.raises(ShapeMismatch):
        dice(logits, target, torch.ones(2, 3, 3))


def test_balanced_weights_make_classes_count_alike():
    weights = np.array(balanced_weights((90, 9, 1)))
    assert np.allclose(weights * (90, 9, 1), 100 / 3)
    with pytest.raises(DataError, match="class 1 has no"):
        balanced_weights((5, 0))


@pytest.mark.parametrize("name", ["bce", "weighted_bce", "dice", "tversky", "focal"])
def test_every_loss_can_be_chosen(name):
    logits, target = example(2)
    options = UNetOptions(loss=name, class_weights=(1, 4) if name == "focal" else ())
    expected = {
        "bce": lambda: cross_entropy(logits, target),
        "weighted_bce": lambda: cross_entropy(logits, target, class_weights=(5 / 8, 5 / 2)),
        "dice": lambda: dice(logits, target),
        "tversky": lambda: tversky(logits, target, alpha=0.3, beta=0.7),
        "focal": lambda: focal(logits, target, gamma=2, class_weights=(1, 4)),
    }[name]()
    assert torch.allclose(choose_loss(options, (80, 20))(logits, target), expected)


def test_class_weights_must_be_as_many_as_classes():
    with pytest.raises(ConfigError, match="2 numbers and there are 3"):
        choose_loss(UNetOptions(loss="focal", class_weights=(1, 2)), (1, 1, 1))


@pytest.mark.parametrize("name", ["bce", "weighted_bce", "focal"])
def test_losses_of_windows(name):
    logits, target = torch.randn(12, 1), torch.tensor([0, 1, 1] * 4, dtype=torch.uint8)
    options = CnnOptions(loss=name, gamma=1, label_smoothing=0 if name == "focal" else 0.1)
    balanced = {"class_weights": (2, 2 / 3)}
    expected = {
        "bce": lambda: cross_entropy(logits, target, label_smoothing=0.1),
        "weighted_bce": lambda: cross_entropy(logits, target, **balanced, label_smoothing=0.1),
        "focal": lambda: focal(logits, target, gamma=1, **balanced),
    }[name]()
    assert torch.allclose(choose_window_loss(options, (10, 30))(logits, target), expected)
