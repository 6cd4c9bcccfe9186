"""The network of a weights file trained anew for one class, in a bounded time: what is a frozen backbone worth?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from umlite import Segmenter
from umlite.extension.labelled import Labelled
from umlite.extension.samples import mask_on_model
from umlite.models.config import HeadConfig
from umlite.training.dataset import WindowStream
from umlite.training.image import TrainingImage, class_bits, find_centres, pack_masks
from umlite.training.loss import segmentation_loss
from umlite.training.network import untrained_model
from umlite.training.schedule import TrainingOptions
from umlite.training.train import Training
from umlite.training.windows import WindowSampler
from umlite.weights.loading import save_model

SEED = 0
TIMED_STEPS = 4
CLASS_SHARE = 0.6
"""Share of windows that are centred on the class."""


@dataclass(frozen=True, eq=False)
class Scans:
    """Images in turns."""

    images: Sequence[TrainingImage]

    def make(self, seed: int) -> TrainingImage:
        return self.images[seed % len(self.images)]


def train_anew(segmenter: Segmenter, scans: Sequence[Labelled], name: str, cpu_s: float, output: Path) -> int:
    """Train the segmenter's architecture from random numbers on all these scans, for one class, and write it.

    The rate warms up, stays and decays within the time, as in the recipe of the bundled weights. Windows are as large
    as those of inference, vary in intensity, and are float32 on the native kernels.

    Args:
        segmenter: its card gives architecture, spacing and window.
        scans: to learn from; nothing is held out.
        name: of the class.
        cpu_s: processor time of all steps.
        output: weights file.

    Returns:
        The number of steps.
    """
    card = segmenter.card
    images = [image_of(segmenter, one, name) for one in scans]
    head = HeadConfig(
        1, "shared", 8, 8, 0, card.network.head.gap_width, card.network.head.channels, card.network.head.groups
    )
    card = replace(card, name="anew", network=replace(card.network, head=head), classes=(name,))
    sampler = WindowSampler(card.window, card.hu_range, rare_share=0, class_share=CLASS_SHARE)
    text = torch.nn.functional.normalize(torch.ones(1, head.embedding_width))

    def run(steps: int, folder: Path) -> Training:
        torch.manual_seed(SEED)
        options = TrainingOptions(steps=steps, average=0.99, warm_up=min(60, steps // 4), decay=steps // 2, seed=SEED)
        training = Training(untrained_model(card.network, text), [name], segmentation_loss, options, folder)
        with WindowStream(Scans(images), sampler, SEED, len(images), 1, 0) as stream:
            training.run(stream)
        return training

    with tempfile.TemporaryDirectory() as made:
        start = time.process_time()
        run(TIMED_STEPS, Path(made) / "timed")
        steps = max(1, int(cpu_s * TIMED_STEPS / (time.process_time() - start)))
        training = run(steps, Path(made) / "run")
    save_model(output, training.average.tensors, card, overwrite=True)
    return steps


def image_of(segmenter: Segmenter, labelled: Labelled, name: str) -> TrainingImage:
    """A labelled scan on the network's grid."""
    scan, mask = labelled.read()
    volume = segmenter.engine.prepare(scan)
    low, high = segmenter.card.hu_range
    hu = (volume.voxels.cpu().float().numpy() * (high - low) + low).astype(np.float16)
    present = pack_masks({name: mask_on_model(mask, volume)}, [name])
    return TrainingImage(hu, present, np.full(present.shape, class_bits([name], [name])), find_centres(present, 1))
