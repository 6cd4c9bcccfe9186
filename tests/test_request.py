"""Requests and engine options are plain data: equal, hashable, picklable, and JSON keeps them."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umlite.engines.options import EngineOptions
from umlite.errors import RequestError
from umlite.request import Request

names = st.none() | st.lists(st.text(max_size=20), max_size=4).map(tuple)
requests = st.builds(
    Request,
    names,
    st.floats(0, 1, exclude_max=True, allow_nan=False),
    st.sampled_from(["all", "adaptive"]),
    st.booleans(),
)
numbers = st.none() | st.integers(1, 2**62)
options = st.builds(
    EngineOptions,
    st.sampled_from(["auto", "cpu", "cuda:1"]),
    st.sampled_from(["fast", "reference"]),
    st.sampled_from(["auto", "native", "torch"]),
    st.sampled_from(["auto", "float32", "float16", "bfloat16"]),
    numbers,
    numbers,
    st.booleans(),
    numbers,
    numbers,
)


@given(requests | options)
def test_they_survive_json_and_pickle(record: Request | EngineOptions) -> None:
    again = type(record).from_dict(json.loads(json.dumps(record.to_dict())))
    assert again == record == pickle.loads(pickle.dumps(record))
    assert hash(again) == hash(record)


def test_a_request_from_what_people_write() -> None:
    assert Request.of("liver, spleen", overlap=0.25) == Request(("liver", "spleen"), 0.25)
    assert Request.of(["liver", 3]).classes == ("liver", "3")
    assert Request.of(Request(("liver",)), windows="adaptive") == Request(("liver",), windows="adaptive")
    assert Request.of(None) == Request()
    with pytest.raises(TypeError, match="opverlap"):
        Request.of(None, opverlap=0.5)


@pytest.mark.parametrize("asked", [["liver", " spleen", 3], "liver; spleen\n3", ("liver,spleen", "3 "),
                                   iter(["liver", "spleen", "3"])])  # fmt: skip
@pytest.mark.parametrize("make", [Request.of, lambda asked: Request.of(None, classes=asked), Request,
                                  lambda asked: Request.of(Request("aorta"), classes=asked)])  # fmt: skip
def test_classes_become_a_tuple_however_they_are_given(asked: object, make: Callable[[Any], Request]) -> None:
    request = make(copy.copy(asked))
    assert request.classes == ("liver", "spleen", "3")
    assert hash(request) == hash(Request(("liver", "spleen", "3")))


@pytest.mark.parametrize("asked", [6, b"liver", 1.5, True])
def test_classes_of_another_type_are_refused(asked: Any) -> None:
    with pytest.raises(RequestError, match="Expected classes as text") as caught:
        Request.of(None, classes=asked)
    assert caught.value.about == ("classes",)


@pytest.mark.parametrize(
    ("record", "data", "message"),
    [
        (Request, {"overlap": 1}, "below 1, found 1"),
        (Request, {"overlap": "0.5"}, "overlap: expected float, found '0.5'"),
        (Request, {"classes": "liver"}, "classes: expected"),
        (Request, {"classes": ["liver", 1]}, "classes: expected"),
        (Request, {"probabilities": 1}, "probabilities: expected bool"),
        (Request, {"windows": "some"}, "all or adaptive"),
        (Request, {"clases": []}, "Unknown request: clases"),
        (Request, [], "as a JSON object, found list"),
        (EngineOptions, {"threads": 0}, "at least 1 thread"),
        (EngineOptions, {"threads": True}, "threads: expected int or null"),
        (EngineOptions, {"kernels": "best"}, "auto, native or torch"),
        (EngineOptions, {"max_ram": 1.5}, "max_ram: expected int or null"),
    ],
)
def test_what_is_wrong_is_said(record: type[Request | EngineOptions], data: object, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        record.from_dict(data)
