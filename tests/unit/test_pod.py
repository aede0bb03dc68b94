"""A pod as it is read: what people know it by."""

import pytest

from builders import pod
from firebreak.model.pod import Pod


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (pod("web-5d9-x2x9k", owner=("ReplicaSet", "web-5d9"), labels={"pod-template-hash": "5d9"}), "Deployment web"),
        (pod("web-5d9-x2x9k", owner=("ReplicaSet", "web-5d9"), labels={}), "ReplicaSet web-5d9"),
        (pod("web-x2x9k", owner=("ReplicaSet", "web"), labels={"pod-template-hash": "web"}), "ReplicaSet web"),
        (pod("db-0", owner=("StatefulSet", "db")), "StatefulSet db"),
        (pod("alone"), "Pod alone"),
        (pod("forged", owner=("Deployment", "web")), "Pod forged"),
    ],
)
def test_a_pod_is_known_by_what_keeps_its_name(shown: Pod, words: str) -> None:
    assert shown.known_as == words
