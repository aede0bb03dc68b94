"""Playbooks: fetched once when an incident starts, and kept in its status as they were."""

import hashlib
import json

from pydantic import ValidationError

from firebreak.api.playbook import BUILT_IN, CONTAIN, PlaybookSpec, unlike_its_name
from firebreak.api.status import PlaybookSnapshot
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError, NotFound
from firebreak.model.change import Ref
from firebreak.model.incident import in_words


async def fetch(api: Api, name: str) -> tuple[PlaybookSpec, PlaybookSnapshot | None, str]:
    """Return (playbook, snapshot for the status, problem in words). With a problem there is no snapshot yet.

    What runs then contains and preserves: a typing error in a name must not leave a pod at large.
    """
    try:
        raw = await api.get(Ref("Playbook", name))
        spec = PlaybookSpec.model_validate(raw.get("spec") or {})
    except NotFound:
        if name not in BUILT_IN:
            words = f"playbook {name!r} does not exist; pods are contained and preserved, nothing more. Create it."
            return CONTAIN, None, words
        spec = BUILT_IN[name]
    except ApiError as error:
        words = f"playbook {name!r} cannot be read ({error}); pods are contained and preserved, nothing more"
        return CONTAIN, None, words
    except ValidationError as error:
        words = f"playbook {name!r} cannot be used ({in_words(error)}); pods are contained and preserved, nothing more"
        return CONTAIN, None, words
    if unlike_its_name(name, spec):
        words = f"playbook {name!r} does more than its name allows; pods are contained and preserved, nothing more"
        return CONTAIN, None, f"{words}. Give it another name."
    return spec, PlaybookSnapshot(name=name, digest=digest(spec), spec=spec), ""


def digest(spec: PlaybookSpec) -> str:
    """Return the SHA-256 of a playbook's meaning, whatever its formatting."""
    text = json.dumps(spec.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
