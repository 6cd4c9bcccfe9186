"""Errors that a user can resolve: each says what was expected, what was found and what to do."""


class UmliteError(Exception):
    """Base of every error that umlite raises on purpose; the command line turns it into exit code 2.

    Args:
        message: what was expected, what was found and what to do, without a word about the command line.
        about: names of the options that matter: fields of `EngineOptions` or `Request`, or parameters such as
            "overwrite". The command line adds how it spells them.
    """

    def __init__(self, message: str = "", *, about: str | tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.about = (about,) if isinstance(about, str) else about


class InputError(UmliteError):
    """A scan that cannot be read or segmented."""


class GeometryError(InputError):
    """A scan whose size in mm no body has; `read_scan` can be told to read it all the same."""


class RequestError(UmliteError):
    """A class, an option or a combination of options that does not exist."""


class WeightsError(UmliteError):
    """Weights that are missing, damaged or do not fit the network."""


class DownloadError(WeightsError):
    """Published weights that cannot be downloaded."""


class DeviceError(UmliteError):
    """A device, compiler, kernel or amount of memory that was asked for and is missing."""


class OutputError(UmliteError):
    """A result that cannot be written."""


class GivenUpError(UmliteError):
    """A scan that took too long, or whose process ended."""


class Terminated(KeyboardInterrupt):
    """The system asked the process to end. It is treated like an interruption, with its own exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code
