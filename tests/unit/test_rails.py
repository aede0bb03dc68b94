"""Guard rails, purely: what is protected, when the breaker holds an alarm back, which Services would be emptied."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import INCIDENT, pod, unhurried
from firebreak.model.enforcement import Enforcement, State
from firebreak.model.facts import Network
from firebreak.model.rails import Alarm, Backend, Limits, Protected, Size
from firebreak.steps import rails
from firebreak.steps.quarantine import judge

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIMITS = Limits(timedelta(minutes=10), namespace=3, total=5, reserve=2, share=0.5)
WEBHOOK = Backend("shop", {"app": "policy"}, "it answers admission webhook policy.example.com")
KNOWN = Protected(
    namespaces=rails.namespaces("firebreak", ("payments",)),
    backends=(WEBHOOK,),
    pods={("shop", "policy-1"): WEBHOOK.why},
    sizes={"shop": {"web-5d": Size("Deployment web", 4), "db": Size("StatefulSet db", 2)}},
)


@pytest.mark.parametrize(
    ("namespace", "name", "labels", "why"),
    [
        ("kube-system", "coredns-1", None, "the cluster itself runs in kube-system, its DNS among it"),
        ("firebreak", "firebreak-1", None, "Firebreak itself runs there"),
        ("payments", "any", None, "its namespace is protected by FIREBREAK_PROTECTED_NAMESPACES"),
        ("shop", "policy-1", None, "it answers admission webhook policy.example.com"),
        ("shop", "policy-2", {"app": "policy", "tier": "x"}, "it answers admission webhook policy.example.com"),
        ("shop", "policy-2", None, ""),  # younger than what was read last, and its labels are not known before a cut
        ("shop", "web-1", {"app": "web"}, ""),
        ("other", "policy-1", {"app": "policy"}, ""),
    ],
)
def test_what_is_protected_says_why(namespace: str, name: str, labels: dict[str, str] | None, why: str) -> None:
    assert rails.protected(KNOWN, namespace, name, labels) == why


def test_no_setting_takes_the_protection_of_kube_system_and_of_firebreak_away() -> None:
    assert set(rails.namespaces("fb", ("kube-system", "fb"))) == {"kube-system", "fb"}
    assert rails.namespaces("fb", ("fb",))["fb"] == "Firebreak itself runs there"


def test_a_backend_without_a_selector_protects_nothing() -> None:
    known = Protected(backends=(Backend("shop", {}, "no"),))
    assert rails.protected(known, "shop", "web-1", {"app": "web"}) == ""


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("http://minio.storage.svc.cluster.local:9000", ("storage", "minio")),
        ("https://minio.storage.svc", ("storage", "minio")),
        ("http://minio.storage:9000/bucket", ("storage", "minio")),
        ("https://s3.eu-west-1.amazonaws.com", None),
        ("http://minio:9000", None),
        ("s3://evidence", None),
        ("http://[::1", None),
        ("", None),
    ],
)
def test_the_store_s_service_is_read_from_its_address(url: str, service: tuple[str, str] | None) -> None:
    assert rails.service_of(url) == service


def alarm(uid: str, *pods: str, minutes: float = 0, **fields: Any) -> Alarm:
    defaults: dict[str, Any] = {"namespace": "shop", "automatic": True, "critical": False}
    return Alarm(uid=uid, created=NOON + timedelta(minutes=minutes), pods=frozenset(pods), **(defaults | fields))


def test_the_breaker_lets_pass_up_to_its_bound_in_a_namespace() -> None:
    passed = [alarm("1"), alarm("2")]
    assert rails.breaker(alarm("4"), passed, LIMITS, KNOWN) == ""
    words = "3 automatic incidents of namespace shop have cut pods off within 10 minutes"
    assert rails.breaker(alarm("4"), [*passed, alarm("3")], LIMITS, KNOWN) == words
    assert rails.breaker(alarm("4", namespace="other"), [*passed, alarm("3")], LIMITS, KNOWN) == ""


def test_the_breaker_counts_all_namespaces_together_too() -> None:
    passed = [alarm(str(n), namespace=f"ns{n}") for n in range(5)]
    words = "5 automatic incidents have cut pods off within 10 minutes"
    assert rails.breaker(alarm("x"), passed, LIMITS, KNOWN) == words


def test_what_lies_outside_the_window_or_a_person_opened_does_not_count() -> None:
    old = [alarm(str(n), minutes=-10.1) for n in range(9)]
    people = [alarm(f"p{n}", automatic=False) for n in range(9)]
    assert rails.breaker(alarm("x"), [*old, *people], LIMITS, KNOWN) == ""


def test_critical_ones_have_a_reserve_and_it_ends() -> None:
    critical = alarm("x", critical=True)
    assert rails.breaker(critical, [alarm(str(n)) for n in range(4)], LIMITS, KNOWN) == ""
    assert rails.breaker(critical, [alarm(str(n)) for n in range(5)], LIMITS, KNOWN) != ""


def test_no_more_than_the_share_of_a_workload_is_cut() -> None:
    """A Deployment of four: two may be under quarantine, whoever cut them."""
    one, two = alarm("1", "web-5d-aaaaa"), alarm("2", "web-5d-bbbbb", automatic=False, minutes=-60)
    assert rails.breaker(alarm("3", "web-5d-ccccc"), [one], LIMITS, KNOWN) == ""
    words = "3 of the 4 pods of Deployment web would be under quarantine"
    assert rails.breaker(alarm("3", "web-5d-ccccc"), [one, two], LIMITS, KNOWN) == words
    assert rails.breaker(alarm("3", "web-5d-ccccc", critical=True), [one, two], LIMITS, KNOWN) == ""
    assert rails.breaker(alarm("3", "web-5d-bbbbb"), [one, two], LIMITS, KNOWN) == ""  # cut already: no more of it


def test_one_alarm_about_many_pods_is_weighed_as_a_whole_and_small_workloads_are_not() -> None:
    many = alarm("1", "web-5d-aaaaa", "web-5d-bbbbb", "web-5d-ccccc", "unknown-1")
    assert rails.breaker(many, [], LIMITS, KNOWN) == "3 of the 4 pods of Deployment web would be under quarantine"
    assert rails.breaker(alarm("1", "db-0", "db-1"), [], LIMITS, KNOWN) == ""


alarms = st.builds(
    alarm,
    st.uuids().map(str),
    st.sampled_from(["web-5d-a", "web-5d-b", "web-5d-c", "db-0", "x"]),
    minutes=st.floats(-30, 30),
    automatic=st.booleans(),
    critical=st.booleans(),
    namespace=st.sampled_from(["shop", "other"]),
)


@unhurried
@given(alarms, st.lists(alarms, max_size=20))
def test_a_person_is_never_held_back_and_more_that_passed_never_opens_the_way(one: Alarm, passed: list[Alarm]) -> None:
    if rails.breaker(one, passed, LIMITS, KNOWN):
        assert one.automatic
    else:
        assert rails.breaker(one, passed[1:], LIMITS, KNOWN) == ""


@unhurried
@given(st.lists(alarms, max_size=40, unique_by=lambda a: a.uid))
def test_the_counts_hold_whatever_comes(storm: list[Alarm]) -> None:
    passed: list[Alarm] = []
    for one in storm:
        if not rails.breaker(one, passed, LIMITS, KNOWN):
            passed.append(one)
    automatic = [a for a in passed if a.automatic]
    for one in automatic:
        near = [a for a in automatic if 0 <= (a.created - one.created).total_seconds() <= 600]
        assert len(near) <= LIMITS.total + LIMITS.reserve


def test_a_service_that_would_be_left_without_a_pod_is_named() -> None:
    web, other = pod("web-1"), pod("web-2")
    held = pod("web-4", labels={"app": "web", "quarantine.firebreak.dev/x": "true"})
    assert rails.emptied([web], {"web": [web, held]}) == ["web"]
    assert rails.emptied([web], {"web": [web, other]}) == []
    assert rails.emptied([web, other], {"web": [web, other], "all": [web, other]}) == ["all", "web"]
    assert rails.emptied([web], {"nobody": [held]}) == []


def test_each_guard_rail_says_what_a_person_does() -> None:
    patch = 'kubectl patch incident web-shell -n shop --type=merge -p \'{"spec":{"overrides":["%s"]}}\''
    shield = rails.shield(INCIDENT, {"policy-1": "it answers admission webhook policy.example.com"})
    assert shield.why == (
        "not cut off, for it is protected: policy-1: it answers admission webhook policy.example.com. "
        f"Who may `override` incidents can have it cut: {patch % 'Protected'}"
    )
    assert rails.tripped(INCIDENT, "3 of 4").why == (
        "3 of 4: evidence is preserved, nothing is cut until a person looks. Open an incident without spec.source, or: "
        f"Who may `override` incidents can have it cut: {patch % 'BreakerOpen'}"
    )
    held = rails.all_behind(["web", "api"])
    assert (held.why, held.services) == ("every pod behind Services web, api would be cut off", ("web", "api"))


def test_a_pod_that_is_spared_makes_the_incident_not_contained_whatever_else_is_cut() -> None:
    verdict = judge(Network(INCIDENT, (), spared={"policy-1": "why"}), Enforcement(State.PROVEN))
    assert (verdict.status, verdict.reason) == ("False", "Protected")
    assert "policy-1: why" in verdict.message
