"""Playbooks: fetched once when an incident starts, and kept in its status as they were."""

import hashlib
import json

from pydantic import ValidationError

from firebreak.api.playbook import STANDARD, PlaybookSpec
from firebreak.api.status import PlaybookSnapshot
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError, NotFound
from firebreak.model.change import Ref
from firebreak.model.incident import in_words

# What runs while the named playbook cannot be used: a typing error in a name must not leave a pod at large.
CONTAIN_AND_PRESERVE = PlaybookSpec.model_validate({"steps": [{"quarantine": {}}, {"capture": {}}]})


async def fetch(api: Api, name: str) -> tuple[PlaybookSpec, PlaybookSnapshot | None, str]:
    """Return (playbook, snapshot for the status, problem in words). With a problem there is no snapshot yet."""
    try:
        raw = await api.get(Ref("Playbook", name))
        spec = PlaybookSpec.model_validate(raw.get("spec") or {})
    except NotFound:
        if name != "standard":
            words = f"playbook {name!r} does not exist; pods are contained and preserved, nothing more. Create it."
            return CONTAIN_AND_PRESERVE, None, words
        spec = STANDARD
    except ApiError as error:
        words = f"playbook {name!r} cannot be read ({error}); pods are contained and preserved, nothing more"
        return CONTAIN_AND_PRESERVE, None, words
    except ValidationError as error:
        words = f"playbook {name!r} cannot be used ({in_words(error)}); pods are contained and preserved, nothing more"
        return CONTAIN_AND_PRESERVE, None, words
    return spec, PlaybookSnapshot(name=name, digest=digest(spec), spec=spec), ""


def digest(spec: PlaybookSpec) -> str:
    """Return the SHA-256 of a playbook's meaning, whatever its formatting."""
    text = json.dumps(spec.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
