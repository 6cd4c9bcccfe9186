"""Errors of a scan become its outcome: they must not cost the other scans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from umlite.batch.jobs import Job
from umlite.batch.outcome import Outcome
from umlite.errors import UmliteError
from umlite.machine.memory import as_refusal

Given = ParamSpec("Given")
Result = TypeVar("Result")


def contained(
    step: Callable[Concatenate[Job, Given], Result], job: Job, *given: Given.args, **options: Given.kwargs
) -> Result | Outcome:
    """What a step of a job gives, or an outcome with its error."""
    try:
        return step(job, *given, **options)
    except UmliteError as error:
        return Outcome(job, error=error)
    except Exception as error:  # a defect of umlite: the caller reports it in full
        return Outcome(job, error=as_refusal(error) or error)
