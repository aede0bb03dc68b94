"""Who may send: tokens from mounted files, names of client certificates."""

from pathlib import Path
from typing import Any

import pytest

from firebreak.intake.access import Access, Sender, Tokens, names_of
from firebreak.intake.refusal import Refused

PATHS = frozenset({"falco", "alertmanager", "audit"})
ONE, TWO = "first-token-0123456789", "second-token-0123456789"


def tokens(at: Path, **files: str) -> Tokens:
    for name, text in files.items():
        (at / name).write_text(text)
    return Tokens(at, PATHS)


def access(known: Tokens, *names: str, insecure: bool = False) -> Access:
    return Access(known, frozenset(names), insecure)


def shown(*names: tuple[str, str], common_name: str = "falco-1") -> dict[str, Any]:
    """A certificate as `ssl` tells it."""
    return {"subject": ((("organizationName", "o"),), (("commonName", common_name),)), "subjectAltName": names}


def refused(asking: Access, authorization: str = "", certificate: Any = None, path: str = "falco") -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        asking.sender(authorization, certificate, "10.0.0.1", path)
    return caught.value.status, caught.value.words


def test_a_token_says_who_sends_and_several_are_good_at_once(tmp_path: Path) -> None:
    asking = access(tokens(tmp_path, sidekick=ONE, next=TWO + "\n"))
    assert asking.sender(f"Bearer {ONE}", None, "10.0.0.1", "falco") == Sender("token sidekick")
    assert asking.sender(f"bearer {TWO}", None, "10.0.0.1", "falco") == Sender("token next")


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer ", "Bearer wrong-token-0123456789", f"Basic {ONE}", ONE])
def test_what_is_no_known_token_is_refused_without_quoting_it(tmp_path: Path, shown: str) -> None:
    status, words = refused(access(tokens(tmp_path, sidekick=ONE)), shown)
    assert (status, words) == (401, "send a bearer token that is known here, or a client certificate")


def test_a_wrong_token_is_not_made_good_by_a_certificate(tmp_path: Path) -> None:
    asking = access(tokens(tmp_path, sidekick=ONE), "falco.example.org")
    assert refused(asking, "Bearer wrong", shown(("DNS", "falco.example.org")))[0] == 401


def test_a_token_may_be_bound_to_one_path(tmp_path: Path) -> None:
    (tmp_path / "site.falco").write_text(ONE)
    asking = access(tokens(tmp_path))
    assert asking.sender(f"Bearer {ONE}", None, "", "falco") == Sender("token site.falco", "falco")
    assert refused(asking, f"Bearer {ONE}", path="audit") == (403, "token site.falco may send to /falco only")


def test_a_token_for_a_path_that_is_not_there_is_no_token(tmp_path: Path) -> None:
    (tmp_path / "site.flaco").write_text(ONE)
    assert len(tokens(tmp_path)) == 0


@pytest.mark.parametrize("text", ["", "short", "x" * 15, "x" * 4097])
def test_a_token_that_is_too_short_or_too_long_is_none(tmp_path: Path, text: str) -> None:
    assert len(tokens(tmp_path, one=text)) == 0


def test_tokens_come_and_go_with_their_files(tmp_path: Path) -> None:
    known = tokens(tmp_path, old=ONE)
    (tmp_path / "new").write_text(TWO)
    known.refresh()
    assert (known.sender(ONE), known.sender(TWO)) == (Sender("token old"), Sender("token new"))
    (tmp_path / "old").unlink()
    known.refresh()
    assert (known.sender(ONE), known.sender(TWO)) == (None, Sender("token new"))


def test_kubelet_s_own_links_are_no_tokens(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "one").write_text(ONE)
    (tmp_path / "one").symlink_to("..data/one")
    assert len(tokens(tmp_path)) == 1


def test_a_directory_that_is_not_there_holds_no_token(tmp_path: Path) -> None:
    assert len(Tokens(tmp_path / "nowhere", PATHS)) == 0
    assert len(Tokens(None, PATHS)) == 0


def test_a_certificate_counts_by_its_dns_and_uri_names(tmp_path: Path) -> None:
    asking = access(tokens(tmp_path), "falco.example.org", "spiffe://a/falco")
    assert asking.sender("", shown(("DNS", "falco.example.org")), "", "falco") == Sender(
        "certificate falco.example.org"
    )
    assert asking.sender("", shown(("URI", "spiffe://a/falco")), "", "falco") == Sender("certificate spiffe://a/falco")


def test_the_common_name_counts_only_where_there_is_no_other(tmp_path: Path) -> None:
    asking = access(tokens(tmp_path), "falco-1")
    assert asking.sender("", shown(), "", "falco") == Sender("certificate falco-1")
    assert refused(asking, certificate=shown(("DNS", "other"))) == (
        403,
        "no name of this client certificate is allowed here",
    )


def test_other_kinds_of_names_do_not_count() -> None:
    assert names_of(shown(("email", "falco-1@x"), ("IP Address", "10.0.0.1"), common_name="c")) == {"c"}


def test_without_tokens_and_names_everybody_comes_in_when_told_so_and_nobody_else(tmp_path: Path) -> None:
    nothing = tokens(tmp_path)
    assert access(nothing, insecure=True).sender("", None, "10.0.0.1", "falco") == Sender("address 10.0.0.1")
    assert refused(access(nothing))[0] == 401


def test_insecure_opens_nothing_when_the_last_token_goes(tmp_path: Path) -> None:
    """A Secret that is swapped, emptied or deleted must not open the door."""
    known = tokens(tmp_path, loud="a-token-of-the-tests")
    asking = access(known, insecure=True)
    (tmp_path / "loud").unlink()
    known.refresh()
    assert len(known) == 0
    assert refused(asking)[0] == 401


def test_a_file_that_is_no_token_is_told_of_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = tokens(tmp_path, empty="", other="a-token-of-the-tests")
    for _ in range(3):
        known.refresh()
    (tmp_path / "empty").write_text("a-token-of-the-tests-too")
    known.refresh()
    (tmp_path / "empty").write_text("")
    known.refresh()
    assert capsys.readouterr().out.count("want 16 to 4096 characters") == 2


def test_insecure_opens_nothing_that_is_closed(tmp_path: Path) -> None:
    asking = access(tokens(tmp_path, one=ONE), insecure=True)
    assert refused(asking)[0] == 401
    (tmp_path / "one").unlink()
    named = access(Tokens(tmp_path, PATHS), "falco", insecure=True)
    assert refused(named)[0] == 401
