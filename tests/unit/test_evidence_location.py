"""Opening a store: what is wrong with an address is said at once, and secrets are never in it."""

import traceback
from pathlib import Path

import pytest

from firebreak.evidence.errors import StoreRefused
from firebreak.evidence.store import EvidenceStore

FORMS = "use file:///folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory:// \\(tests\\)"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/x", f"has the scheme 'ftp', which is not supported; {FORMS}"),
        ("/var/evidence", f"has the scheme '', which is not supported; {FORMS}"),
        ("https://s3.example.com/bucket", "has the scheme 'https', which is not supported"),
        ("s3://", "names no valid bucket \\(''\\)"),
        ("s3://b", "names no valid bucket \\('b'\\)"),
        ("s3://[broken", "is not a URL"),
        ("s3://bucket/../up", "prefix '../up' may hold letters, digits"),
        ("s3://bucket/a b", "prefix 'a b' may hold"),
        ("s3://bucket/x?region=eu", "has a query or fragment"),
        ("file://relative/folder", "needs the absolute path of a folder"),
        ("file:///", "needs the absolute path of a folder"),
        ("file:///a/../../b", "needs the absolute path of a folder"),
        ("memory://name/x", "memory:// takes no name or folder"),
    ],
)
def test_a_bad_address_is_refused_in_words(url: str, message: str) -> None:
    with pytest.raises(StoreRefused, match=message):
        EvidenceStore.open(url)


@pytest.mark.parametrize(
    ("url", "shown", "local"),
    [
        ("memory://", "memory://", True),
        ("s3://evidence/cases/", "s3://evidence/cases", False),
        ("s3://evidence", "s3://evidence", False),
        ("gs://evidence/cases", "gs://evidence/cases", False),
    ],
)
def test_an_address_is_shown_without_trimmings(url: str, shown: str, local: bool) -> None:  # noqa: FBT001 - a table
    store = EvidenceStore.open(url)
    assert (store.url, store.local) == (shown, local)


def test_azure_takes_its_account_from_the_options() -> None:
    store = EvidenceStore.open("az://evidence/cases", {"AZURE_STORAGE_ACCOUNT_NAME": "acct"})
    assert (store.url, store.local) == ("az://evidence/cases", False)


def test_a_folder_is_made_and_is_local(tmp_path: Path) -> None:
    store = EvidenceStore.open(f"file://{tmp_path}/new/evidence")
    assert store.local
    assert (tmp_path / "new" / "evidence").is_dir()


def test_a_folder_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreRefused, match=r"cannot open '' in file://.*the store refused \(Not a directory\)"):
        EvidenceStore.open(f"file://{tmp_path}/file/evidence")


def test_credentials_in_the_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(StoreRefused, match="holds credentials; give them as options") as refusal:
        EvidenceStore.open("s3://AKIABAIT:bait-secret@bucket/x")
    assert "bait" not in str(refusal.value).lower()


def test_an_unknown_option_is_named_and_no_value_is_shown() -> None:
    options = {"AWS_NO_SUCH_THING": "bait-value", "AWS_SECRET_ACCESS_KEY": "bait-secret"}
    with pytest.raises(StoreRefused, match="AWS_NO_SUCH_THING, AWS_SECRET_ACCESS_KEY; UnknownConf") as refusal:
        EvidenceStore.open("s3://bucket/x", options)
    assert "bait" not in "".join(traceback.format_exception(refusal.value))


@pytest.mark.parametrize("name", ["AWS_ALLOW_HTTP", "aws_allow_http", "allow_http", "AWS_CONNECT_TIMEOUT"])
def test_options_of_the_http_client_are_sorted_out(name: str) -> None:
    value = "3s" if "TIMEOUT" in name else "true"
    assert EvidenceStore.open("s3://bucket/x", {name: value, "AWS_REGION": "eu-central-1"}).url == "s3://bucket/x"
