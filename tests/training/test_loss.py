from __future__ import annotations

import pytest
import torch

from umlite.training.loss import dice_counts, segmentation_loss


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    logits = torch.randn(2, 3, 40)
    return logits, torch.rand(2, 3, 40) > 0.7, torch.rand(2, 3, 40) > 0.4


def test_unknown_voxels_change_neither_loss_nor_gradient(case: tuple[torch.Tensor, ...]) -> None:
    logits, target, known = case
    changed = torch.where(known, logits, torch.full_like(logits, 50.0))
    flipped = torch.where(known, target, ~target)
    a, b = logits.clone().requires_grad_(), changed.clone().requires_grad_()
    one, other = segmentation_loss(a, target, known), segmentation_loss(b, flipped, known)
    assert one.item() == other.item()
    one.backward()
    other.backward()
    assert a.grad is not None
    assert b.grad is not None
    assert torch.equal(a.grad, b.grad)
    assert not a.grad[~known].any()
    assert a.grad[known].all()


def test_class_known_nowhere_counts_for_nothing(case: tuple[torch.Tensor, ...]) -> None:
    logits, target, known = case
    known[:, 1] = False
    without = segmentation_loss(logits[:, [0, 2]], target[:, [0, 2]], known[:, [0, 2]])
    assert segmentation_loss(logits, target, known).item() == pytest.approx(without.item(), abs=1e-6)


def test_nothing_known_is_no_loss(case: tuple[torch.Tensor, ...]) -> None:
    logits, target, known = case
    assert segmentation_loss(logits, target, torch.zeros_like(known)).item() == 0


def test_right_answers_lose_little_and_wrong_ones_much(case: tuple[torch.Tensor, ...]) -> None:
    _, target, known = case
    sure = torch.where(target, 20.0, -20.0)
    assert segmentation_loss(sure, target, known).item() < 1e-6
    assert segmentation_loss(-sure, target, known).item() > 1


def test_dice_counts_leave_out_the_unknown() -> None:
    logits = torch.tensor([[[1.0, 1.0, -1.0, 1.0]]])
    target = torch.tensor([[[True, False, True, True]]])
    known = torch.tensor([[[True, True, True, False]]])
    assert dice_counts(logits, target, known).tolist() == [[1.0, 2.0, 2.0]]
