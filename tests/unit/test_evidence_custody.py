"""Chain of custody: each entry names the newest one before it; a fork is tolerated."""

import json

from evidence_samples import COLLECTOR, PREFIX, bundle_in
from firebreak.evidence import custody
from firebreak.evidence.canonical import digest
from firebreak.evidence.keys import Key
from firebreak.evidence.store import EvidenceStore


async def test_the_first_entry_follows_none() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    ref = await custody.record(bundle, COLLECTOR, "began to capture pod web-1")
    stored = await bundle.store.read(Key(f"{PREFIX}/{ref.key}"))
    assert ref.key.startswith("custody/20260301T120000000000Z-")
    assert ref.sha256 == digest(stored)
    assert json.loads(stored) == {
        "schema": "firebreak.dev/custody/v1",
        "who": {
            "account": "system:serviceaccount:firebreak:firebreak",
            "pod": "firebreak-7d9c6b5f4-x2x9k",
            "version": "0.1.0",
        },
        "what": "began to capture pod web-1",
        "at": "2026-03-01T12:00:00.000000Z",
        "previous": None,
    }


async def test_each_entry_names_the_one_before_it() -> None:
    bundle = bundle_in(EvidenceStore.open("memory://"))
    refs = [await custody.record(bundle, COLLECTOR, what) for what in ("began", "sealed", "was downloaded")]
    entries = [json.loads(await bundle.store.read(Key(f"{PREFIX}/{ref.key}"))) for ref in refs]
    assert [entry["previous"] for entry in entries] == [None, refs[0].sha256, refs[1].sha256]
    assert await custody.entries(bundle.store, bundle.layout) == tuple(refs)
