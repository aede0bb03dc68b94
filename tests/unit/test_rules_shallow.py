"""JSON of any depth becomes readable, and is otherwise left as it is."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firebreak.detect.shallow import deeper, shallow
from hostile import hostile

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@hostile
@given(JSON)
def test_what_is_not_deep_stays_as_it_is(value: object) -> None:
    assert shallow(json.dumps(value).encode()) == json.dumps(value).encode()


@hostile
@given(st.binary())
def test_no_bytes_make_it_fail(data: bytes) -> None:
    assert len(shallow(data)) <= len(data)


@pytest.mark.parametrize(("depth", "kept"), [(200, "[" * 200 + "]" * 200), (201, "[" * 200 + "null" + "]" * 200)])
def test_what_is_deeper_becomes_null(depth: int, kept: str) -> None:
    assert shallow(b"[" * depth + b"]" * depth).decode() == kept


def test_what_comes_after_the_depth_is_kept() -> None:
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    document = f'{{"x": {deep}, "y": ["]]]", "\\"[", {deep}], "z": true}}'
    read = json.loads(shallow(document.encode()))
    assert (read["y"][:2], read["z"]) == (["]]]", '"['], True)


@hostile
@given(JSON)
def test_how_deep_json_is_is_told_without_reading_it(value: object) -> None:
    data = json.dumps(value).encode()
    assert [deeper(data, than) for than in range(8)] == [_depth(value) > than for than in range(8)]


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


@hostile
@given(st.binary())
def test_no_bytes_are_too_strange_to_be_told(data: bytes) -> None:
    assert deeper(data, 32) in {True, False}


@pytest.mark.parametrize("data", [b"[" * 40, b'{"a":' * 40 + b"1", b"]" * 40 + b"[" * 40])
def test_what_opens_too_much_and_ends_nowhere_is_deep(data: bytes) -> None:
    assert deeper(data, 32)


@pytest.mark.parametrize("data", [b"[" * 20 + b"]" * 30, b'["' + b"[" * 100, b"]" * 1000])
def test_what_is_cut_off_or_closes_too_much_is_not(data: bytes) -> None:
    assert not deeper(data, 32)


@pytest.mark.parametrize(
    "data",
    [
        b'"' + b'\\"' * 500_000,
        b'"' + b'\\"' * 500_000 + b"\\",
        b'"' * 1_000_001,
        b"[" * 1_000_000,
        (b"[" * 200 + b"]" * 200) * 2500,
    ],
)
def test_a_megabyte_takes_no_longer_than_its_length(data: bytes) -> None:
    began = time.process_time()
    shallow(data)
    deeper(data, 200)
    assert time.process_time() - began < 5
