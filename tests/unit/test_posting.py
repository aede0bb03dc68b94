"""Posting to a server that nobody vouches for: tried again where that helps, and its URL told to nobody."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from firebreak.outward.posting import PostError, PostLimits, PostUnavailable, post
from receiver import Reply, receiving

QUICK = PostLimits(timeout=0.3, budget=5.0, longest_pause=0.05)
ONCE = PostLimits(timeout=0.3, budget=0.0, longest_pause=0.05)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def said() -> tuple[bytes, dict[str, str]]:
    return b'{"a":1}', {"Authorization": "Bearer x"}


async def test_a_server_that_is_overloaded_is_asked_again_when_it_says(session: aiohttp.ClientSession) -> None:
    replies = (Reply(429, headers={"Retry-After": "3600"}), Reply(503), Reply(200, '{"revoked": true}'))
    async with receiving(*replies) as receiver:
        assert await post(session, receiver.url, said, QUICK) == {"revoked": True}
        assert receiver.bodies == [b'{"a":1}'] * 3
        assert receiver.headers[0]["Authorization"] == "Bearer x"
        assert receiver.headers[0]["Content-Type"] == "application/json"


async def test_a_server_that_hangs_is_given_up_and_asked_again(session: aiohttp.ClientSession) -> None:
    async with receiving(Reply(hang=True)) as receiver:
        assert await post(session, receiver.url, said, QUICK) == {}
        assert len(receiver.bodies) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_what_is_refused_is_not_posted_again(session: aiohttp.ClientSession, status: int) -> None:
    async with receiving(otherwise=Reply(status)) as receiver:
        with pytest.raises(PostError, match=f"^127.0.0.1 answered {status}$"):
            await post(session, receiver.url, said, QUICK)
        assert len(receiver.bodies) == 1


async def test_a_redirect_is_not_followed(session: aiohttp.ClientSession) -> None:
    async with receiving() as elsewhere, receiving(Reply(307, headers={"Location": str(elsewhere.url)})) as receiver:
        with pytest.raises(PostError, match="it redirects, which is not followed: set the final URL"):
            await post(session, receiver.url, said, QUICK)
        assert elsewhere.bodies == []


async def test_a_budget_that_is_spent_ends_it(session: aiohttp.ClientSession) -> None:
    async with receiving(otherwise=Reply(500)) as receiver:
        with pytest.raises(PostUnavailable, match=r"^127\.0\.0\.1 answered 500$"):
            await post(session, receiver.url, said, ONCE)
        assert len(receiver.bodies) == 1


@pytest.mark.parametrize("body", ["ok", "", "[1]", "[" * 50_000, '"revoked"', '{"revoked": true}' + " " * 70_000])
async def test_an_answer_that_is_no_small_json_object_says_nothing(session: aiohttp.ClientSession, body: str) -> None:
    async with receiving(Reply(200, body)) as receiver:
        assert await post(session, receiver.url, said, QUICK) == {}


async def test_no_error_names_more_of_the_url_than_the_host(session: aiohttp.ClientSession) -> None:
    async with receiving(otherwise=Reply(403)) as receiver:
        errors = [await failure(session, receiver.url), await failure(session, URL("http://127.0.0.1:9/SECRETPATH"))]
    assert errors == ["127.0.0.1 answered 403", "127.0.0.1 did not answer (ClientConnectorError)"]


async def failure(session: aiohttp.ClientSession, url: URL) -> str:
    with pytest.raises(PostError) as raised:
        await post(session, url, said, ONCE)
    assert raised.value.__cause__ is None
    return str(raised.value)
