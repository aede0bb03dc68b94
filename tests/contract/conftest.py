"""The contract tests run on the fake API server and, when FIREBREAK_KUBECONFIG names one, on a real one.

What cannot be forced on a real one is in no contract: a 429 or 5xx at a given call, an answer lost after the effect, a
stale read. The crash matrix (tests/crash) has these from the fake alone.
"""

import os
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

# The fake lives with the unit tests, which are its main users.
sys.path.insert(0, str(Path(__file__).parent.parent / "unit"))

from api_client import Api, real_session
from fake_api import running_fake

KUBECONFIG = "FIREBREAK_KUBECONFIG"


def _servers() -> list[str]:
    return ["fake", "real"] if os.environ.get(KUBECONFIG) else ["fake"]


@pytest.fixture(params=_servers())
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """An API server with a namespace of the test's own, and the service account `runner` in it."""
    namespace = f"contract-{secrets.token_hex(4)}"
    if request.param == "real":
        async with real_session(Path(os.environ[KUBECONFIG])) as session:
            api = await _prepared(Api(session, namespace, is_real=True))
            yield api
            await api.call("DELETE", f"/api/v1/namespaces/{namespace}")
    else:
        async with running_fake() as fake, aiohttp.ClientSession(fake.url) as session:
            yield await _prepared(Api(session, namespace, is_real=False))


async def _prepared(api: Api) -> Api:
    await api.create("/api/v1/namespaces", {"metadata": {"name": api.namespace}})
    await api.create(api.path("serviceaccounts"), {"metadata": {"name": "runner"}})
    return api
