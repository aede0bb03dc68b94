"""Every shipped rule fires on what a real attacker's token really does.

The API server writes its log under the shipped audit policy; `firebreak detect` reads it. Who attacks is a service
account with a token of its own that is bound to cluster-admin, so that nothing is filtered as an administrator's.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attacks import enter_a_pod, start_pods, take_rights, take_secrets
from attacks_on_cluster import reach_the_kubelet, stay, undo_defences, use_tokens_of_others
from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl, own_namespace
from firebreak.detect.finding import Level
from firebreak.detect.rules import Ruleset
from people import Person, Registry

# What a correlation counts finds nothing by itself.
SHIPPED = [name for name, rule in Ruleset.load().named.items() if rule.level is not Level.INFORMATIONAL]


@pytest.fixture(scope="module")
def log(cluster: ClusterInfo) -> Path:
    """The audit log."""
    if cluster.audit_log is None:
        pytest.skip("this cluster names no audit log: set FIREBREAK_AUDIT_LOG")
    return cluster.audit_log


@pytest.fixture(scope="module")
def thief(
    cluster: ClusterInfo, kubectl: Kubectl, log: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Person, int]]:
    """A service account that may do everything, and where the log ended before it got there."""
    start = log.stat().st_size
    with own_namespace(kubectl, "thief") as name:
        kubectl("create", "clusterrolebinding", name, "--clusterrole=cluster-admin", f"--serviceaccount={name}:thief")
        try:
            person = Registry(cluster, kubectl, name, tmp_path_factory.mktemp("thief")).person("thief")
            wait_until(lambda: person.may("*", "*"), timeout=10, otherwise="the thief did not get his rights")
            yield person, start
        finally:
            kubectl("delete", "clusterrolebinding", name, "--ignore-not-found")


@pytest.fixture(scope="module")
def fired(
    firebreak: str,
    thief: tuple[Person, int],
    log: Path,
    cluster: ClusterInfo,
    tmp_path_factory: pytest.TempPathFactory,
) -> set[str]:
    """The rules that fired on all that the thief did."""
    person, start = thief
    folder = tmp_path_factory.mktemp("audit")
    take_secrets(person)
    take_rights(person)
    start_pods(person)
    enter_a_pod(person, cluster)
    stay(person, folder)
    undo_defences(person)
    reach_the_kubelet(person)
    use_tokens_of_others(person, firebreak)
    person("create", "configmap", f"{person.namespace}-last")
    wait_until(
        lambda: person.namespace.encode() + b"-last" in log.read_bytes()[start:],
        timeout=20,
        otherwise="the last call is not in the audit log",
    )
    return rules_of(log, start, person.namespace, folder)


@pytest.mark.parametrize("rule", SHIPPED)
def test_a_rule_fires_on_the_real_thing(rule: str, fired: set[str]) -> None:
    assert rule in fired


def rules_of(log: Path, start: int, mine: str, folder: Path) -> set[str]:
    """What is found in the log from a place on, in lines that name this test's own namespace or account."""
    with log.open("rb") as opened:
        opened.seek(start)
        lines = [line for line in opened if mine.encode() in line]
    part = folder / "audit.log"
    part.write_bytes(b"".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "firebreak", "detect", str(part)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return {json.loads(line)["rule"] for line in done.stdout.splitlines()}
