"""Every shipped rule fires on what a real attacker's token really does.

The API server writes its log under the shipped audit policy; `firebreak detect` reads it. Who attacks is a service
account with a token of its own that is bound to cluster-admin, so that nothing is filtered as an administrator's.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from attacks import enter_a_pod, start_pods, take_rights, take_secrets
from attacks_on_cluster import reach_the_kubelet, stay, undo_defences, use_tokens_of_others
from audited import until_now
from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl, log_of, own_namespace
from firebreak.detect.finding import Level
from firebreak.detect.rules import Ruleset
from people import Person, Registry

# What a correlation counts finds nothing by itself. The log has all bodies: what only the webhook leaves out, see
# test_audit_setup.py.
SHIPPED = [
    name
    for name, rule in Ruleset.load().named.items()
    if rule.level is not Level.INFORMATIONAL and name != "bodies-left-out"
]


@pytest.fixture(scope="module")
def thief(cluster: ClusterInfo, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A service account that may do everything."""
    with own_namespace(kubectl, "thief") as name:
        kubectl("create", "clusterrolebinding", name, "--clusterrole=cluster-admin", f"--serviceaccount={name}:thief")
        try:
            person = Registry(cluster, kubectl, name, tmp_path_factory.mktemp("thief")).person("thief")
            wait_until(lambda: person.may("*", "*"), timeout=10, otherwise="the thief did not get his rights")
            yield person
        finally:
            kubectl("delete", "clusterrolebinding", name, "--ignore-not-found")


@pytest.fixture(scope="module")
def fired(cluster: ClusterInfo, firebreak: str, thief: Person, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The rules that fired on all that the thief did."""
    folder = tmp_path_factory.mktemp("audit")
    log = log_of(cluster)
    take_secrets(thief)
    take_rights(thief)
    start_pods(thief)
    enter_a_pod(thief, cluster)
    stay(thief, folder)
    undo_defences(thief)
    reach_the_kubelet(thief)
    use_tokens_of_others(thief, firebreak)
    return rules_of(until_now(log, thief), thief.namespace, folder)


@pytest.mark.parametrize("rule", SHIPPED)
def test_a_rule_fires_on_the_real_thing(rule: str, fired: set[str]) -> None:
    assert rule in fired


def rules_of(lines: list[bytes], mine: str, folder: Path) -> set[str]:
    """What is found in those lines of the log that name this test's own namespace or account."""
    part = folder / "audit.log"
    own = [line for line in lines if mine.encode() in line]
    last = json.loads(own[-1])
    later = datetime.fromisoformat(last["stageTimestamp"]) + timedelta(minutes=3)  # the log went on: nothing else came
    own.append(json.dumps({**last, "auditID": "later", "stageTimestamp": later.isoformat()}).encode())
    part.write_bytes(b"\n".join(own))
    done = subprocess.run(
        [sys.executable, "-m", "firebreak", "detect", str(part)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return {json.loads(line)["rule"] for line in done.stdout.splitlines()}
