"""The journal: edits are written together, intents only when nobody else wrote since."""

import pytest

from fake_api import Answer, FakeApi, Fault
from firebreak.api.playbook import STANDARD
from firebreak.api.status import StepState
from firebreak.engine.journal import Edit, Journal, SupersededError
from firebreak.engine.notices import Notices
from firebreak.kube.client import Api
from firebreak.kube.errors import Invalid
from firebreak.model.incident import read
from firebreak.model.record import with_step
from firebreak.model.verdict import CONTAINED, EVIDENCE, Verdict, record
from harness import Clock, connect
from world import UID, incident


def journal(fake: FakeApi, api: Api) -> Journal:
    clock = Clock()
    return Journal(api, read(fake.get("Incident", "shop", "shell")), STANDARD, clock, Notices(api, clock, "one"))


def running(name: str) -> Edit:
    return lambda status: with_step(status, name, state=StepState.RUNNING)


async def test_edits_made_since_the_last_write_share_one_call(fake: FakeApi) -> None:
    fake.put(incident())
    async with connect(fake) as api:
        book = journal(fake, api)
        book.note(running("quarantine"), running("capture"))
        await book.write(running("revoke"))
        await book.write()
    writes = [call for call in fake.writes if call.resource == "incidents/status"]
    assert len(writes) == 1
    assert set(writes[0].body["status"]["steps"]) == {"quarantine", "capture", "revoke"}


async def test_an_edit_of_the_spec_by_people_does_not_stop_an_intent(fake: FakeApi) -> None:
    fake.put(incident())
    async with connect(fake) as api:
        book = journal(fake, api)
        fake.update("Incident", "shop", "shell", {"spec": {"ticket": "SEC-7"}})
        await book.intend(running("revoke"))
        assert book.incident.spec.ticket == "SEC-7"
    assert fake.get("Incident", "shop", "shell")["status"]["steps"]["revoke"]["state"] == "Running"


async def test_an_intent_stops_when_another_leader_wrote(fake: FakeApi) -> None:
    fake.put(incident())
    async with connect(fake) as api:
        book = journal(fake, api)
        fake.update("Incident", "shop", "shell", {"status": {"message": "written by another replica"}})
        with pytest.raises(SupersededError, match="written by somebody else"):
            await book.intend(running("revoke"))


async def test_an_intent_stops_when_the_incident_was_closed(fake: FakeApi) -> None:
    fake.put(incident())
    async with connect(fake) as api:
        book = journal(fake, api)
        fake.update("Incident", "shop", "shell", {"spec": {"state": "Closed", "verdict": "Exercise"}})
        with pytest.raises(SupersededError, match="was closed"):
            await book.intend(running("revoke"))


async def test_an_event_is_posted_when_a_condition_turns_and_not_again(fake: FakeApi) -> None:
    fake.put(incident())
    async with connect(fake) as api:
        book = journal(fake, api)
        for words in ("web-1", "web-1 and more"):
            verdict = Verdict(CONTAINED, "True", "Enforced", words)
            await book.write(lambda s, v=verdict: record(s, v, now=book.now(), generation=1))
        await fake.called(lambda call: call.resource == "events")
        await api.list_all("Event")  # behind what else was posted
    events = [(e["reason"], e["type"], e["involvedObject"]["uid"]) for e in fake.list("Event")]
    assert events == [("Contained", "Normal", UID)]


async def test_a_claim_that_waits_for_pods_that_joined_is_no_news_until_it_is_settled(fake: FakeApi) -> None:
    fake.put(incident())
    async with connect(fake) as api:
        book = journal(fake, api)
        sealed = Verdict(EVIDENCE, "True", "Sealed", "web-1")
        for verdict in (sealed, Verdict(EVIDENCE, "False", "Capturing", "web-1"), sealed):
            await book.write(lambda s, v=verdict: record(s, v, now=book.now(), generation=1))
        await fake.called(lambda call: call.resource == "events", times=2)
    posted = [call.body["message"] for call in fake.writes if call.resource == "events"]
    assert posted == ["Sealed: web-1", "Sealed: web-1"]


async def test_a_crd_that_is_older_than_firebreak_is_named_in_the_status_once(fake: FakeApi) -> None:
    fake.put(incident())
    quoted = f'"" is invalid: patch: Invalid value: "{{{"x" * 2000}}}": '  # as a real server does
    refused = Answer(422, message=quoted + 'strict decoding error: unknown field "status.steps"')
    fake.faults.add(Fault(when=lambda call: "steps" in ((call.body or {}).get("status") or {}), how=refused))
    async with connect(fake) as api:
        book = journal(fake, api)
        for _ in range(2):
            with pytest.raises(Invalid):
                await book.write(running("revoke"))
    status = fake.get("Incident", "shop", "shell")["status"]
    (said,) = status["conditions"]
    assert (said["type"], said["status"], said["reason"]) == ("Stalled", "True", "OutdatedCRD")
    assert "kubectl apply --server-side -k crds" in status["message"]
    writes = [call for call in fake.writes if call.resource == "incidents/status"]
    assert ["steps" in call.body["status"] for call in writes] == [True, False, True]
