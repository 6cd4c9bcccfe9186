"""Where weights are installed, and which file a name means."""

from __future__ import annotations

import os
import re
from pathlib import Path

from umlite.errors import WeightsError
from umlite.files import expanded

SUFFIX = ".safetensors"
BUNDLED = {"demo": Path(__file__).with_name("demo.safetensors")}
"""Weights inside the package: for trying the software only, so never a default."""
_NO_HOME = (
    "There is no place for installed weights: this user has no home folder. Set UMLITE_WEIGHTS to a folder, or name a "
    "weights file."
)


def store_folder() -> Path:
    """$UMLITE_WEIGHTS, else the user's data folder of the operating system.

    Raises:
        WeightsError: this user has no home folder, so there is none.
    """
    if folder := os.environ.get("UMLITE_WEIGHTS"):
        try:
            return Path(folder).expanduser()
        except RuntimeError as error:
            raise WeightsError(f"UMLITE_WEIGHTS is {folder!r}, and there is no such user.") from error
    from platformdirs import user_data_path

    try:
        path = user_data_path("umlite", appauthor=False) / "weights"
    except RuntimeError as error:
        raise WeightsError(_NO_HOME) from error
    if not path.is_absolute():  # an older platformdirs leaves a "~" that nothing can be put in place of
        raise WeightsError(_NO_HOME)
    return path


def shown_store() -> str:
    """The folder of installed weights for a person, or why there is none."""
    try:
        return str(store_folder())
    except WeightsError:
        return "none, since this user has no home folder"


def installed() -> dict[str, Path]:
    """Name -> file of every installed weights file, in alphabetical order; none where no folder can be read."""
    try:
        folder = store_folder()
        found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    except (WeightsError, OSError):
        return {}
    return {path.name.removesuffix(SUFFIX): path for path in found if not path.name.startswith(".")}


def install_path(name: str) -> Path:
    """The file that weights called `name` are installed as. Raises WeightsError on a name that is no plain word."""
    if name in BUNDLED:
        raise WeightsError(f"{name!r} is the name of the weights inside umlite. Choose another name.", about="name")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise WeightsError(
            f"Expected a name of letters, digits, '.', '_' and '-', found {name!r}. Choose such a name.", about="name"
        )
    return store_folder() / f"{name}{SUFFIX}"


def resolve(weights: str | os.PathLike[str] | None) -> Path:
    """The weights file that is meant.

    Args:
        weights: an installed name, a path, or None where exactly one is installed.

    Raises:
        WeightsError: none or several are installed, or none has that name; the message says what to do.
    """
    have = installed()
    if weights is None:
        if len(have) == 1:
            return next(iter(have.values()))
        if have:
            raise WeightsError(f"Several weights are installed: {', '.join(have)}. Choose one.", about="weights")
        raise WeightsError(
            "No weights are installed. Online: `umlite weights pull unet` (or swin_unetr). Offline: bring a published "
            "checkpoint here, then `umlite weights convert FILE.pth`. A converted file can also be named by its path. "
            "To try the software only: `umlite demo`.",
            about="weights",
        )
    text = os.fspath(weights)
    if text in BUNDLED:
        return BUNDLED[text]
    if text in have:
        return have[text]
    path = expanded(text)
    if text and (os.path.exists(path) or path.suffix or len(path.parts) > 1):
        return path
    raise WeightsError(
        f"No weights called {text!r}. Installed: {', '.join(have) or 'none'}. "
        "Expected one of these, a .safetensors file, or first `umlite weights pull unet|swin_unetr`.",
        about="weights",
    )
