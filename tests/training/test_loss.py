from __future__ import annotations

import pytest
import torch

from umlite.training.loss import class_losses, count_voxels, host_loss, segmentation_loss


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


def test_a_small_missed_class_still_pulls() -> None:
    target = torch.zeros(1, 2, 4096, dtype=torch.bool)
    target[:, 0, :8], target[:, 1, :512] = True, True
    logits = torch.full(target.shape, -8.0, requires_grad=True)
    segmentation_loss(logits, target, torch.ones_like(target)).backward()
    assert logits.grad is not None
    small, large = (float(-logits.grad[0, c][target[0, c]].sum()) for c in (0, 1))
    assert small > 0.2 * large


def test_windows_without_a_rare_class_do_not_silence_it() -> None:
    target = torch.zeros(1, 1, 30_000, dtype=torch.bool)
    target[..., :120] = True
    pulls = []
    for truth in (target, torch.zeros_like(target)):
        logits = torch.full(target.shape, -5.0, requires_grad=True)
        segmentation_loss(logits, truth, torch.ones_like(target)).backward()
        assert logits.grad is not None
        pulls.append(-float(logits.grad.sum()))
    assert pulls[0] > 4 * -pulls[1] > 0


def test_a_found_class_is_not_drawn_too_large() -> None:
    target = torch.zeros(1, 1, 4096, dtype=torch.bool)
    target[..., :400] = True
    half = torch.where(target, 6.0, -6.0)
    half[..., 400:450] = 0.0  # voxels of a border that could be either, none of them true
    half[..., 350:400] = 0.0
    logits = half.requires_grad_()
    segmentation_loss(logits, target, torch.ones_like(target)).backward()
    assert logits.grad is not None
    inside, outside = logits.grad[..., 350:400].sum(), logits.grad[..., 400:450].sum()
    assert 1 < float(-inside / outside) < 2.5


def test_drawing_an_absent_class_costs_more_the_more_is_drawn() -> None:
    target = torch.zeros(1, 1, 1000, dtype=torch.bool)
    logits = torch.full(target.shape, -20.0)
    few, many = logits.clone(), logits.clone()
    few[..., :30], many[..., :300] = 20.0, 20.0
    absent = [float(class_losses(x, target, ~target)[0][2]) for x in (logits, few, many)]
    assert absent == pytest.approx([0, 0.693, 2.398], abs=2e-3)


def test_count_voxels_leave_out_the_unknown() -> None:
    logits = torch.tensor([[[1.0, 1.0, -1.0, 1.0]]])
    target = torch.tensor([[[True, False, True, True]]])
    known = torch.tensor([[[True, True, True, False]]])
    assert count_voxels(logits, target, known).tolist() == [[1.0, 2.0, 2.0]]


def test_weights_of_classes_weigh_their_losses(case: tuple[torch.Tensor, ...]) -> None:
    logits, target, known = case
    alone = [segmentation_loss(*(x[:, c : c + 1] for x in case)).item() for c in range(3)]
    weighted = segmentation_loss(logits, target, known, torch.tensor([1.0, 3.0, 4.0])).item()
    assert weighted == pytest.approx((alone[0] + 3 * alone[1] + 4 * alone[2]) / 8, abs=1e-5)
    even = segmentation_loss(logits, target, known, torch.ones(3)).item()
    assert even == segmentation_loss(logits, target, known).item()
    tenth = segmentation_loss(logits, target, known, torch.tensor([0.1, 0.3, 0.4])).item()
    assert tenth == pytest.approx(weighted, abs=1e-5)


def test_weights_leave_the_loss_of_absent_classes_as_it_is() -> None:
    logits = torch.full((1, 2, 50), -2.0)
    nothing, everything = torch.zeros(1, 2, 50, dtype=torch.bool), torch.ones(1, 2, 50, dtype=torch.bool)
    logits[:, 1] = 1.0
    entropy, _, absent = class_losses(logits, nothing, everything)[0]
    found = segmentation_loss(logits, nothing, everything, torch.tensor([1.0, 9.0])).item()
    assert found == pytest.approx(float((entropy[0] + 9 * entropy[1]) / 10 + absent.mean()), abs=1e-5)


@pytest.fixture
def organ_and_tumour() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """100 voxels, the first 20 an organ, the first 5 its tumour: target, known, hosts."""
    target = torch.zeros(1, 2, 100, dtype=torch.bool)
    target[:, 0, :20], target[:, 1, :5] = True, True
    return target, torch.ones_like(target), torch.tensor([[False, False], [True, False]])


def test_host_loss_is_the_entropy_within_the_host(organ_and_tumour: tuple[torch.Tensor, ...]) -> None:
    target, known, hosts = organ_and_tumour
    logits = torch.randn(target.shape, requires_grad=True)
    found = host_loss(logits, target, known, torch.tensor([1.0, 5.0]), hosts)
    cut = (x[:, 1:, :20] for x in (logits.detach(), target, known))
    assert found.item() == pytest.approx(float(class_losses(*cut)[0][0]), abs=1e-6)
    found.backward()
    assert logits.grad is not None
    assert logits.grad[0, 1, :20].all()
    assert not logits.grad[0, 0].any()
    assert not logits.grad[0, 1, 20:].any()


def test_host_loss_knows_windows_without_the_class(organ_and_tumour: tuple[torch.Tensor, ...]) -> None:
    target, known, hosts = organ_and_tumour
    target[:, 1] = False
    silent, loud = (torch.full(target.shape, value) for value in (-9.0, 9.0))
    weights = torch.tensor([1.0, 5.0])
    assert host_loss(silent, target, known, weights, hosts) < 1e-3 < 8 < host_loss(loud, target, known, weights, hosts)
    for nothing in (known & False, known & torch.tensor([[True], [False]])):
        assert host_loss(loud, target, nothing, weights, hosts) == 0
    target[:, 0] = False
    assert host_loss(loud, target, known, weights, hosts) == 0


def test_host_loss_weighs_what_is_present(organ_and_tumour: tuple[torch.Tensor, ...]) -> None:
    target, known = (torch.cat([x, x[:, 1:]], 1) for x in organ_and_tumour[:2])
    target[:, 2] = False
    hosts = torch.tensor([[False] * 3, [True, False, False], [True, False, False]])
    logits = torch.randn(target.shape)
    entropy = class_losses(logits[..., :20], target[..., :20], known[..., :20])[0][0]
    found = host_loss(logits, target, known, torch.tensor([1.0, 5.0, 5.0]), hosts)
    assert found.item() == pytest.approx(float(5 * entropy[1] + entropy[2]) / 6, abs=1e-5)
    plain = segmentation_loss(logits, target, known)
    added = segmentation_loss(logits, target, known, hosts=hosts) - plain
    assert added.item() == pytest.approx(float(entropy[1] + entropy[2]) / 2, abs=1e-5)
