"""The hook that ends cloud identities: one server that the settings name, asked by a signed call, taken at its word.

Firebreak has no credentials of any cloud and wants none. What the hook says is reported as what the hook says.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping

import aiohttp
from yarl import URL

from firebreak.api.status import ChangeState
from firebreak.engine.execute import Result
from firebreak.model.change import Change
from firebreak.model.clock import Clock
from firebreak.model.loose import text
from firebreak.model.names import IncidentRef
from firebreak.model.record import stamp
from firebreak.model.words import printable
from firebreak.outward.posting import DEFAULT_LIMITS, PostError, PostLimits, post
from firebreak.settings import Settings

LONGEST_WORDS = 200  # characters of what the hook says
REVOKED = "revoked, says the hook"


class CloudHook:
    """Calls the hook. A call may come twice (after a restart): the hook has to bear that."""

    def __init__(self, url: URL, key: bytes, cluster: str, clock: Clock, limits: PostLimits = DEFAULT_LIMITS) -> None:
        self._url = url
        self._key = key
        self._cluster = cluster
        self._clock = clock
        self._limits = limits

    async def call(self, incident: IncidentRef, change: Change) -> Result:
        """Ask the hook to end the identity of a Change, and say what it says. Raises nothing that it could cause."""

        def signed() -> tuple[bytes, Mapping[str, str]]:
            return self._signed(incident, change)

        try:
            async with aiohttp.ClientSession(trust_env=True) as session:
                answer = await post(session, self._url, signed, self._limits)
        except PostError as error:
            words = f"the hook did not take it ({error}); asked again at the next look"
            return Result(change, ChangeState.FAILED, words)
        said = printable(text(answer.get("message"))[:LONGEST_WORDS])
        more = f": {said}" if said else ""
        if answer.get("revoked") is True:
            return Result(change, ChangeState.DONE, f"{REVOKED}{more}")
        return Result(change, ChangeState.FAILED, f"not revoked, says the hook{more}; end it by hand")

    def _signed(self, incident: IncidentRef, change: Change) -> tuple[bytes, Mapping[str, str]]:
        """The body, and a signature over it and the time, so that nobody can use an old call again."""
        now = self._clock()
        body = json.dumps(
            {
                "version": 1,
                "action": "revoke",
                "incident": {"namespace": incident.namespace, "name": incident.name, "uid": incident.uid},
                "cluster": self._cluster,
                "identity": {"namespace": change.target.namespace, **(change.body or {})},
                "time": stamp(now),
            }
        ).encode()
        seconds = str(int(now.timestamp()))
        digest = hmac.new(self._key, f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
        return body, {"Firebreak-Timestamp": seconds, "Firebreak-Signature": f"sha256={digest}"}


def cloud_hook(settings: Settings, clock: Clock) -> CloudHook | None:
    """Return the hook of the settings, None when there is none."""
    if settings.cloud_hook_url is None or settings.cloud_hook_key is None:
        return None
    url, key = settings.cloud_hook_url.get_secret_value(), settings.cloud_hook_key.get_secret_value()
    return CloudHook(URL(url), key.encode(), settings.cluster, clock)
