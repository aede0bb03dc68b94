"""Object keys from names that an attacker may have chosen."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firebreak.evidence.keys import KEY_LENGTH, is_key, key, segment
from firebreak.evidence.layout import IncidentIdentity, manifest_key, manifest_sequence, receipt_key

names = st.text(st.characters(), max_size=300)


def test_plain_names_stay_as_they_are() -> None:
    assert key("pods", "web-1", "logs", "app.current.log") == "pods/web-1/logs/app.current.log"


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("", "~"),
        ("~", "%7E"),
        ("../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"),
        ("a b\n", "a%20b%0A"),
        ("%2F", "%252F"),
        ("ü", "%C3%BC"),
        ("\udcff", "%ED%B3%BF"),
    ],
)
def test_an_odd_name_is_written_in_percent_form(name: str, encoded: str) -> None:
    assert segment(name) == encoded


def test_a_name_that_is_too_long_is_cut_and_ends_with_its_hash() -> None:
    assert segment("x" * 161) == "x" * 127 + "~fdb7f3c40645e79ca4c5d1638753243c"


@given(st.lists(names, min_size=1, max_size=8))
def test_every_key_is_safe_and_bounded(parts: list[str]) -> None:
    built = key(*parts)
    assert is_key(built)
    assert len(built) <= KEY_LENGTH
    assert built.count("/") == len(parts) - 1
    assert all(len(part) <= 160 and re.fullmatch(r"[A-Za-z0-9._%~-]+", part) for part in built.split("/"))


@given(st.lists(names, min_size=1, max_size=4), st.lists(names, min_size=1, max_size=4))
def test_different_names_have_different_keys(one: list[str], two: list[str]) -> None:
    assert (key(*one) == key(*two)) == (one == two)


def test_a_key_without_names_or_with_very_many_is_the_programs_mistake() -> None:
    with pytest.raises(ValueError, match="a key has 1 to 8 segments, not 0"):
        key()
    with pytest.raises(ValueError, match="a key has 1 to 8 segments, not 9"):
        key(*"123456789")


@pytest.mark.parametrize("text", ["", "/a", "a/", "a//b", "a/../b", ".", "a/.", "a b", "ä", "a\n"])
def test_what_could_climb_or_confuse_is_no_key(text: str) -> None:
    assert not is_key(text)


def test_an_incident_has_a_place_that_names_it() -> None:
    incident = IncidentIdentity(cluster="prod/eu", namespace="shop", name="web-shell", uid="8f14e45f")
    assert incident.prefix == "prod%2Feu/incidents/shop/web-shell-8f14e45f"
    assert IncidentIdentity(namespace="shop", name="a", uid="1").prefix == "incidents/shop/a-1"


def test_a_long_incident_name_keeps_its_uid_in_sight() -> None:
    uid = "8f14e45f-ceea-467f-a9c1-1f0d8a4b2c3d"
    place = IncidentIdentity(namespace="shop", name="n" * 253, uid=uid).prefix
    assert place.endswith(f"-{uid}")
    assert len(place.split("/")[-1]) == 147


def test_a_folder_named_like_a_receipt_does_not_stand_in_its_way() -> None:
    assert receipt_key("pods/web") == "receipts/pods/web.json"
    assert receipt_key("pods/web.json/log") == "receipts/pods/web%2Ejson/log.json"


def test_manifests_are_numbered_from_one() -> None:
    assert [manifest_key(1), manifest_key(2)] == ["manifest.json", "manifest-0002.json"]
    assert [manifest_sequence(manifest_key(number)) for number in (1, 2, 117)] == [1, 2, 117]
    assert manifest_sequence(receipt_key("manifest")) is None
