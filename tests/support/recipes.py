"""The recipe checkpoints that the golden numbers belong to, made and converted on demand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import torch

from umlite.classes import PUBLISHED
from umlite.weights.conversion import convert_checkpoint

RECIPES = ("unet", "swinunetr", "swinunetr_perclass")


class Recipe:
    """Weights files of the seeded recipe in `shared`/golden; each is made once, in `folder`."""

    def __init__(self, shared: Path, folder: Path) -> None:
        self.golden, self.folder = shared / "golden", folder
        spec = importlib.util.spec_from_file_location("make_checkpoint", self.golden / "make_checkpoint.py")
        assert spec
        assert spec.loader
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def patch(self, seed: int) -> torch.Tensor:
        """[1, 1, 96, 96, 96] float32 in [0, 1]"""
        return self.module.patch(seed)

    def weights(self, name: str) -> Path:
        """The recipe checkpoint `name` in the released layout, converted."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            layout = json.loads((self.golden / f"layout_{name}.json").read_text())
            keys = {entry["name"]: entry["key"] for entry in layout["entries"]}
            net = {keys[k]: torch.from_numpy(v) for k, v in self.module.state_dict(name).items()}
            checkpoint = self.folder / f"{name}.pth"
            torch.save(
                {"net": net, "optimizer": {"state": {}}, "scheduler": {"last_epoch": 61}, "epoch": 61}, checkpoint
            )
            own = [f"class_{i}" for i in range(len(PUBLISHED) + 1, layout["classes"] + 1)]
            names = [c.name for c in PUBLISHED] + own if own else None
            convert_checkpoint(checkpoint, path, name=name, class_names=names)
            checkpoint.unlink()
        return path
