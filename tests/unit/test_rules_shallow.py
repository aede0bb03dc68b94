"""JSON of any depth becomes readable, and is otherwise left as it is."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firebreak.detect.shallow import shallow

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_what_is_not_deep_stays_as_it_is(value: object) -> None:
    assert shallow(json.dumps(value).encode()) == json.dumps(value).encode()


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


@pytest.mark.parametrize(
    "data", [b'"' + b'\\"' * 500_000, b'"' + b'\\"' * 500_000 + b"\\", b'"' * 1_000_001, b"[" * 1_000_000]
)
def test_a_megabyte_takes_no_longer_than_its_length(data: bytes) -> None:
    began = time.process_time()
    shallow(data)
    assert time.process_time() - began < 5
