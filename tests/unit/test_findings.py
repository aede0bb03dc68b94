"""What of a finding's events is held to be compromised."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from firebreak.detect.event import Event
from firebreak.detect.finding import Aim, Finding, Level
from firebreak.intake.alert import Severity, Subject
from firebreak.intake.findings import alert

WEB = "system:serviceaccount:shop:web"
UID = "3e41dc6b-08a8-44db-bc2a-3724b18ab19a"
TIME = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def event(user: str = WEB, pod: str = "web-1", uid: str = UID, **fields: Any) -> Event:
    """A list of secrets, by a pod unless it is told otherwise."""
    extra = {
        "authentication.kubernetes.io/pod-name": [pod],
        "authentication.kubernetes.io/pod-uid": [uid],
        "authentication.kubernetes.io/node-name": ["worker-1"],
    }
    document = {
        "auditID": "11111111-2222-3333-4444-555555555555",
        "verb": "list",
        "user": {"username": user, "extra": extra if pod else {}},
        "sourceIPs": ["10.0.0.7"],
        "objectRef": {"resource": "secrets", "namespace": "bank"},
    } | fields
    return msgspec.convert(document, Event)


def finding(*events: Event, aim: Aim = Aim.CALLER, **fields: Any) -> Finding:
    given: dict[str, Any] = {"rule": "secret-listing", "title": "Secrets listed", "level": Level.HIGH, "tags": ()}
    return Finding(**(given | {"aim": aim, "time": TIME, "events": events} | fields))


def test_the_caller_is_the_pod_whose_token_made_the_call() -> None:
    found = alert(finding(event()))
    assert found.subject == Subject(namespace="shop", pod="web-1", pod_uid=UID, service_account="web", node="worker-1")
    assert found.summary == f"Secrets listed: {WEB} list secrets bank from 10.0.0.7"
    assert (found.source, found.severity, found.time) == ("audit", Severity.HIGH, TIME)
    assert found.origin == {"auditIDs": ("11111111-2222-3333-4444-555555555555",)}


def test_the_address_is_the_peers_not_what_its_headers_say() -> None:
    """Whoever calls may send X-Forwarded-For; the API server puts what it says before the peer's own address."""
    found = alert(finding(event(sourceIPs=["8.8.8.8", "10.0.0.7"])))
    assert found.fields["sourceIP"] == "10.0.0.7"
    assert found.summary == f"Secrets listed: {WEB} list secrets bank from 10.0.0.7"


def test_without_a_pod_it_is_the_service_account() -> None:
    assert alert(finding(event(pod=""))).subject == Subject(namespace="shop", service_account="web")


@pytest.mark.parametrize(
    "user", ["ann@example.com", "system:admin", "system:serviceaccount:shop", "", "system:anonymous"]
)
def test_a_person_is_no_target_and_is_named(user: str) -> None:
    found = alert(finding(event(user=user)))
    assert found.subject == Subject()
    assert found.summary == f"Secrets listed: {user or 'nobody known'} list secrets bank from 10.0.0.7"


def test_a_node_is_no_target_either() -> None:
    assert alert(finding(event(user="system:node:worker-2", pod=""))).subject == Subject(node="worker-2")


def test_who_impersonates_is_the_caller() -> None:
    posing = {
        "username": "system:serviceaccount:kube-system:admin",
        "extra": {"authentication.kubernetes.io/pod-name": ["victim"]},
    }
    found = alert(finding(event(impersonatedUser=posing)))
    assert found.subject.pod == "web-1"
    assert found.summary == (
        f"Secrets listed: {WEB} acting as system:serviceaccount:kube-system:admin list secrets bank from 10.0.0.7"
    )


def test_extras_of_somebody_who_is_no_service_account_name_no_pod() -> None:
    assert alert(finding(event(user="ann", pod="victim"))).subject == Subject()


@pytest.mark.parametrize("user", ["system:serviceaccount:../..:web", "system:serviceaccount:shop:W\x1b[2J"])
def test_a_user_name_that_is_no_account_is_left_out(user: str) -> None:
    found = alert(finding(event(user=user), event(user=user)))
    assert found.subject == Subject()
    assert "\x1b" not in found.summary
    assert len(found.notes) == 1


def test_several_pods_of_one_account_are_the_account() -> None:
    found = alert(finding(event(), event(pod="web-2")))
    assert found.subject == Subject(namespace="shop", service_account="web")
    assert found.notes == ("2 pods of the account made these calls",)
    assert found.summary.endswith(", the last of 2 events")


def test_of_several_accounts_it_is_the_one_that_completed_it() -> None:
    found = alert(finding(event(), event(user="system:serviceaccount:bank:api", pod="api-1")))
    assert (found.subject.namespace, found.subject.pod) == ("bank", "api-1")


def test_the_object_is_the_pod_that_the_call_was_about() -> None:
    ref = {"resource": "pods", "subresource": "exec", "namespace": "bank", "name": "db-0", "uid": UID}
    found = alert(finding(event(user="ann", verb="create", objectRef=ref), aim=Aim.OBJECT))
    assert found.subject == Subject(namespace="bank", pod="db-0", pod_uid=UID)
    assert found.summary == "Secrets listed: ann create pods/exec bank/db-0 from 10.0.0.7"


def test_a_pod_without_a_name_of_its_own_has_the_one_that_the_answer_tells() -> None:
    ref = {"resource": "pods", "namespace": "bank"}
    answered = msgspec.Raw(b'{"metadata": {"name": "job-x7k2p"}}')
    created = msgspec.structs.replace(event(objectRef=ref), response_object=answered)
    found = alert(finding(created, aim=Aim.OBJECT))
    assert (found.subject.pod, found.fields["name"]) == ("job-x7k2p", "job-x7k2p")
    assert found.summary == f"Secrets listed: {WEB} list pods bank/job-x7k2p from 10.0.0.7"
    broken = msgspec.structs.replace(created, response_object=msgspec.Raw(b'{"metadata": [' * 9))
    assert alert(finding(broken, aim=Aim.OBJECT)).subject == Subject(namespace="bank")


def test_a_pod_that_was_made_is_known_by_its_uid_so_that_a_namesake_is_left_alone() -> None:
    """Else whoever may create pods makes a privileged `db-0` in the StatefulSet's absence, and has the next one cut."""
    answered = msgspec.Raw(b'{"metadata": {"name": "db-0", "uid": "3e41dc6b-08a8-44db-bc2a-3724b18ab19a"}}')
    ref = {"resource": "pods", "namespace": "shop", "name": "db-0"}
    created = msgspec.structs.replace(event(objectRef=ref), response_object=answered)
    subject = alert(finding(created, aim=Aim.OBJECT)).subject
    assert (subject.pod, subject.pod_uid) == ("db-0", "3e41dc6b-08a8-44db-bc2a-3724b18ab19a")
    bound = msgspec.structs.replace(event(objectRef={**ref, "subresource": "binding"}), response_object=answered)
    assert alert(finding(bound, aim=Aim.OBJECT)).subject.pod_uid == ""


def test_an_object_that_is_no_pod_is_no_target() -> None:
    ref = {"resource": "clusterrolebindings", "name": "pwn"}
    found = alert(finding(event(objectRef=ref), aim=Aim.OBJECT))
    assert found.subject == Subject()
    assert (found.fields["resource"], found.fields["name"]) == ("clusterrolebindings", "pwn")


def test_a_hundred_findings_about_one_pod_are_one() -> None:
    first = alert(finding(event(auditID="1", objectRef={"resource": "secrets", "namespace": "a"})))
    later = alert(finding(event(auditID="2", objectRef={"resource": "secrets", "namespace": "b"})))
    other = alert(finding(event(pod="web-2", uid=UID.replace("3", "4"))))
    assert first.identity == later.identity != other.identity
    assert first.repeats


def test_findings_about_two_people_or_two_objects_are_two() -> None:
    ann, bob = (alert(finding(event(user=user))) for user in ("ann", "bob"))
    one, two = (
        alert(finding(event(objectRef={"resource": "clusterrolebindings", "name": name}), aim=Aim.OBJECT))
        for name in ("one", "two")
    )
    assert ann.identity != bob.identity
    assert one.identity != two.identity


def test_a_correlation_is_one_by_its_group_whatever_events_a_replica_saw() -> None:
    group = (("user.username", "ann"),)
    here = alert(finding(event(user="ann", auditID="1"), event(user="ann", auditID="2"), group=group))
    there = alert(finding(event(user="ann", auditID="3"), event(user="ann", auditID="4"), group=group))
    assert here.identity == there.identity
    assert here.fields["group.user.username"] == "ann"


def test_audit_ids_are_the_callers_own_words_and_few_are_kept() -> None:
    many = alert(finding(*(event(auditID=f"{number}\x1b") for number in range(40))))
    assert many.origin["auditIDs"] == tuple(f"{number}?" for number in range(24, 40))


def test_an_event_that_tells_nothing_is_still_an_alert() -> None:
    found = alert(finding(Event(), aim=Aim.OBJECT))
    assert (found.subject, found.origin) == (Subject(), {})
    assert found.summary == "Secrets listed: nobody known"
