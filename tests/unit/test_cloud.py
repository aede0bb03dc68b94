"""What of a cloud a pod can act as, the command that ends it, and the hook that may be asked to."""

import hashlib
import hmac
import json
import os
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import world
from builders import INCIDENT, WEB, pod
from fake_api import FakeApi
from firebreak.api import bounds
from firebreak.api.playbook import Approval
from firebreak.api.status import ChangeState, IncidentStatus
from firebreak.engine.case import clouds_of, pin
from firebreak.engine.hook import CloudHook, cloud_hook
from firebreak.engine.permit import gate
from firebreak.evidence.store import EvidenceStore
from firebreak.model.facts import Account
from firebreak.outward.posting import PostLimits
from firebreak.settings import Settings
from firebreak.steps.cloud import CloudIdentity, Kind, merged, of_account, of_nodes, of_pod, recorded
from harness import replica
from receiver import Reply, receiving
from world import incident, shop

ARN = "arn:aws:iam::123456789012:role/team/shop-web"
EMAIL = "web@shop.iam.gserviceaccount.com"
CLIENT = "00000000-1111-2222-3333-444444444444"
IRSA = CloudIdentity(Kind.IRSA, WEB, ARN)
KEY = "0123456789abcdef"
QUICK = PostLimits(timeout=0.5, budget=0.0)
WITHHELD = "(name withheld: unusual characters; read the annotation)"


def annotated(**annotations: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "annotations": annotations}}


def env(**values: str) -> list[dict[str, Any]]:
    return [{"name": "c", "env": [{"name": name, "value": value} for name, value in values.items()]}]


def token(audience: str) -> list[dict[str, Any]]:
    return [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": audience}}]}}]


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        ({"eks.amazonaws.com/role-arn": ARN}, IRSA),
        ({"iam.gke.io/gcp-service-account": EMAIL}, CloudIdentity(Kind.GOOGLE, WEB, EMAIL)),
        ({"azure.workload.identity/client-id": CLIENT}, CloudIdentity(Kind.AZURE, WEB, CLIENT)),
    ],
    ids=["aws", "google", "azure"],
)
def test_an_account_s_annotation_names_what_its_pods_act_as(annotation: dict[str, str], found: CloudIdentity) -> None:
    assert list(of_account(WEB, annotated(team="shop", **annotation))) == [found]


AGENT = "http://169.254.170.23/v1/credentials"


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"containers": env(AWS_ROLE_ARN=ARN, AWS_WEB_IDENTITY_TOKEN_FILE="/t")}, [IRSA]),
        ({"containers": env(AWS_ROLE_ARN=ARN)}, []),
        (
            {"containers": env(AWS_CONTAINER_CREDENTIALS_FULL_URI=AGENT), "volumes": token("pods.eks.amazonaws.com")},
            [CloudIdentity(Kind.POD_IDENTITY, WEB)],
        ),
        (
            {"containers": env(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://[fd00:ec2::23]/v1/credentials")},
            [CloudIdentity(Kind.POD_IDENTITY, WEB)],
        ),
        ({"containers": env(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://localhost/creds")}, []),
        (
            {"initContainers": env(AZURE_CLIENT_ID=CLIENT, AZURE_FEDERATED_TOKEN_FILE="/t")},
            [CloudIdentity(Kind.AZURE, WEB, CLIENT)],
        ),
        ({"volumes": token("api://AzureADTokenExchange")}, [CloudIdentity(Kind.AZURE, WEB)]),
        ({"volumes": token("sts.amazonaws.com")}, [CloudIdentity(Kind.IRSA, WEB)]),
        ({"volumes": token("vault")}, []),
        ({}, []),
    ],
)
def test_what_webhooks_put_into_a_pod_shows_what_it_acts_as(spec: dict[str, Any], found: list[CloudIdentity]) -> None:
    assert list(of_pod(pod(serviceAccountName="web", **spec))) == found


def test_on_gke_every_account_is_a_principal_and_elsewhere_none() -> None:
    node = {"metadata": {"labels": {"iam.gke.io/gke-metadata-server-enabled": "true"}}}
    assert list(of_nodes([WEB], [{}, node])) == [CloudIdentity(Kind.GOOGLE_DIRECT, WEB)]
    assert list(of_nodes([WEB], [{}, world.node("a")])) == []


def test_an_identity_is_told_once_and_by_its_name_where_one_is_known() -> None:
    nameless, other = CloudIdentity(Kind.IRSA, WEB), CloudIdentity(Kind.IRSA, Account("shop", "api"))
    assert merged([nameless, IRSA, other, IRSA]) == (other, IRSA)


def run(command: str, tmp_path: Path, **outputs: str) -> list[list[str]]:
    """Paste a command into a real shell, with programs of these names that note what they were called with."""
    calls = tmp_path / "calls"
    for name, output in {"aws": "", "gcloud": "", "az": "", **outputs}.items():
        stub = tmp_path / name
        stub.write_text(f"#!/bin/sh\nprintf '%s\\0' {name} \"$@\" >> {calls}\nprintf '\\n' >> {calls}\n{output}\n")
        stub.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["sh", "-euc", command], check=True, env={"PATH": path}, cwd=tmp_path)
    return [line.rstrip("\0").split("\0") for line in calls.read_text().splitlines()]


def test_the_command_for_an_aws_role_denies_every_session_that_is_older_than_now(tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    (call,) = run(IRSA.command, tmp_path)
    assert call[:-1] == [
        "aws", "iam", "put-role-policy", "--role-name", "shop-web", "--policy-name", "AWSRevokeOlderSessions",
        "--policy-document",
    ]  # fmt: skip
    policy = json.loads(call[-1])
    issued = policy["Statement"][0]["Condition"]["DateLessThan"].pop("aws:TokenIssueTime")
    assert before <= datetime.fromisoformat(issued) <= datetime.now(UTC)
    assert policy == {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": {"DateLessThan": {}}}],
    }


def test_the_command_for_an_azure_identity_deletes_the_trust_in_this_account_alone(tmp_path: Path) -> None:
    answers = (
        'case "$*" in *"identity list"*) printf "shop-id\\tshop-rg\\n";; *"credential list"*) echo kube-web;; esac'
    )
    calls = run(CloudIdentity(Kind.AZURE, WEB, CLIENT).command, tmp_path, az=answers)
    where = ["--identity-name", "shop-id", "--resource-group", "shop-rg"]
    subject = "[?subject=='system:serviceaccount:shop:web'].name"
    federated = ["az", "identity", "federated-credential"]
    assert calls == [
        ["az", "identity", "list", "--query", f"[?clientId=='{CLIENT}'].[name,resourceGroup]", "-o", "tsv"],
        [*federated, "list", *where, "--query", subject, "-o", "tsv"],
        [*federated, "delete", *where, "--name", "kube-web", "--yes"],
    ]


def test_the_commands_for_google_disable_the_account_or_list_what_a_principal_has(tmp_path: Path) -> None:
    assert run(CloudIdentity(Kind.GOOGLE, WEB, EMAIL).command, tmp_path) == [
        ["gcloud", "iam", "service-accounts", "disable", EMAIL]
    ]
    assert shlex.split(CloudIdentity(Kind.GOOGLE_DIRECT, WEB).command)[-1] == (
        '--query=policy:"subject/ns/shop/sa/web"'
    )


def test_the_association_of_eks_is_found_by_the_account() -> None:
    words = CloudIdentity(Kind.POD_IDENTITY, WEB).words
    assert words.startswith(
        "AWS role by EKS Pod Identity (named in EKS only) of account shop/web is live; "
        "aws eks list-pod-identity-associations --cluster-name CLUSTER --namespace shop --service-account web and, "
    )


HOSTILE = [
    "arn; rm -rf /",
    "$(reboot)",
    "`reboot`",
    f"{ARN}\nroot is fine",
    f"{ARN}\n",
    f"{ARN};reboot",
    "arn:aws:iam::123456789012:role/-x",
    "arn:aws:iam::123456789012:role/",
    "--impersonate-service-account=evil@example.com",
    "\x1b[2J",
    "{value}",
    "\u0430rn:aws:iam::123456789012:role/x",
    "x" * 5000,
]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(
    ("kind", "place"), [(Kind.IRSA, "ROLE_ARN"), (Kind.GOOGLE, "EMAIL"), (Kind.AZURE, "CLIENT_ID")]
)
def test_a_name_that_no_cloud_would_write_stands_in_no_command_and_calls_no_hook(
    kind: Kind, place: str, hostile: str
) -> None:
    identity = CloudIdentity(kind, WEB, hostile)
    assert hostile not in identity.words
    assert WITHHELD in identity.words
    assert identity.command == CloudIdentity(kind, WEB).command
    assert place in identity.command
    assert gate(identity.change, Approval.NEVER) is ChangeState.MANUAL


@pytest.mark.parametrize("odd", [7, None, ["a"], {"a": "b"}, ""])
def test_an_annotation_of_odd_shape_is_an_identity_without_a_name(odd: Any) -> None:
    (found,) = of_account(WEB, annotated(**{"eks.amazonaws.com/role-arn": odd}))
    assert (found.name, "role-name ROLE_ARN" in found.command) == ("", True)


@pytest.mark.parametrize("odd", [{}, {"metadata": None}, {"metadata": {"annotations": ["a"]}}])
def test_an_account_of_odd_shape_carries_nothing(odd: dict[str, Any]) -> None:
    assert list(of_account(WEB, odd)) == []


# --- on record


def test_what_a_pod_acted_as_outlives_it_on_record() -> None:
    acting = pod(serviceAccountName="web", containers=env(AWS_ROLE_ARN=ARN, AWS_WEB_IDENTITY_TOKEN_FILE="/t"))
    twin = pod("web-2", serviceAccountName="web", containers=acting.spec["containers"])
    pinned = pin(IncidentStatus(), (acting, twin))
    gone = pin(pinned, ())
    assert [found for record in gone.pods.values() for found in clouds_of("shop", record)] == [IRSA]


def test_a_record_of_identities_is_bounded() -> None:
    pods = tuple(
        pod(f"web-{n}", serviceAccountName="web", containers=env(AWS_ROLE_ARN=f"{n}{'x' * 9000}", **FILE))
        for n in range(100)
    )
    kept = [words for record in pin(IncidentStatus(), pods).pods.values() for words in record.clouds]
    assert len(kept) == bounds.CLOUDS
    assert max(map(len, kept)) <= bounds.CLOUD


FILE = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}


@pytest.mark.parametrize("words", ["", "aws-root x", "aws", " "])
def test_what_nobody_of_ours_recorded_is_no_identity(words: str) -> None:
    assert recorded(WEB, words) is None


# --- the hook


def at_noon() -> datetime:
    return datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


async def test_the_hook_gets_who_what_and_when_signed_with_the_time() -> None:
    async with receiving(Reply(body='{"revoked": true, "message": "3 sessions\\u001b[2J"}')) as receiver:
        result = await CloudHook(receiver.url, KEY.encode(), "prod", at_noon, QUICK).call(INCIDENT, IRSA.change)
    assert (result.state, result.message) == (ChangeState.DONE, "revoked, says the hook: 3 sessions?[2J")
    assert json.loads(receiver.bodies[0]) == {
        "version": 1,
        "action": "revoke",
        "incident": {"namespace": "shop", "name": "web-shell", "uid": "11111111-aaaa"},
        "cluster": "prod",
        "identity": {"namespace": "shop", "kind": "aws-irsa", "name": ARN, "serviceAccount": "web"},
        "time": "2026-11-21T12:00:00.000000Z",
    }
    headers = receiver.headers[0]
    assert headers["Firebreak-Timestamp"] == "1795262400"
    expected = hmac.new(KEY.encode(), b"1795262400." + receiver.bodies[0], hashlib.sha256).hexdigest()
    assert headers["Firebreak-Signature"] == f"sha256={expected}"


NOT_TAKEN = "the hook did not take it (127.0.0.1 answered {}); asked again at the next look"
REDIRECTED = "302; it redirects, which is not followed: set the final URL"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(body='{"revoked": false, "message": "no"}'), "not revoked, says the hook: no; end it by hand"),
        (Reply(body='{"revoked": "true"}'), "not revoked, says the hook; end it by hand"),
        (Reply(body="ok"), "not revoked, says the hook; end it by hand"),
        (Reply(401), NOT_TAKEN.format(401)),
        (Reply(500), NOT_TAKEN.format(500)),
        (Reply(302, headers={"Location": "/"}), NOT_TAKEN.format(REDIRECTED)),
    ],
)
async def test_anything_but_a_clear_yes_is_no(reply: Reply, words: str) -> None:
    async with receiving(reply) as receiver:
        result = await CloudHook(receiver.url, KEY.encode(), "", at_noon, QUICK).call(INCIDENT, IRSA.change)
    assert (result.state, result.message) == (ChangeState.FAILED, words)


def test_no_hook_is_called_unsigned() -> None:
    with pytest.raises(ValidationError, match="no call is made unsigned"):
        Settings(cloud_hook_url="https://hook.example/")
    with pytest.raises(ValidationError, match="at least 16"):
        Settings(cloud_hook_url="https://hook.example/", cloud_hook_key="short")
    assert cloud_hook(Settings(), at_noon) is None
    assert cloud_hook(Settings(cloud_hook_url="https://hook.example/", cloud_hook_key=KEY), at_noon)


def test_calling_the_hook_is_a_change_that_waits_for_a_person() -> None:
    assert (str(IRSA.change.risk), gate(IRSA.change, Approval.WHEN_RISKY)) == (
        "not reversible, beyond the namespace",
        ChangeState.WAITING,
    )


async def test_a_running_firebreak_asks_the_hook_once_and_reports_its_word_as_its_word(
    fake: FakeApi, store: EvidenceStore
) -> None:
    shop(fake)
    fake.update("ServiceAccount", "shop", "web", {"metadata": {"annotations": {"eks.amazonaws.com/role-arn": ARN}}})
    async with receiving(Reply(body='{"revoked": true}')) as receiver, replica(fake, store) as firebreak:
        firebreak.tools.hook = CloudHook(receiver.url, KEY.encode(), "prod", firebreak.tools.clock, QUICK)
        fake.put(incident(playbook="unattended"))
        found = await firebreak.condition("shell", "IdentityContained", "Unknown", "RevokedByHook")
        await firebreak.condition("shell", "ActionRequired", "True")
        assert len(receiver.bodies) == 1
    (call,) = [c for c in found["status"]["steps"]["revoke"]["changes"].values() if c["verb"] == "call"]
    assert (call["object"], call["state"]) == (f"CloudIdentity shop/aws-irsa {ARN} of web", "Done")


async def test_a_record_that_had_no_room_for_the_call_has_it_made_again(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.update("ServiceAccount", "shop", "web", {"metadata": {"annotations": {"eks.amazonaws.com/role-arn": ARN}}})
    async with receiving(Reply(body='{"revoked": true}')) as receiver, replica(fake, store) as firebreak:
        firebreak.tools.hook = CloudHook(receiver.url, KEY.encode(), "prod", firebreak.tools.clock, QUICK)
        crowded = {"revoke": {"state": "Partial", "attempts": 1, "counts": {"Done": 300}}}
        fake.put({**incident(playbook="unattended"), "status": {"steps": crowded}})
        await firebreak.condition("shell", "IdentityContained", "Unknown", "RevokedByHook")
        assert len(receiver.bodies) == 1


async def test_without_a_hook_the_role_is_named_with_its_command(fake: FakeApi, store: EvidenceStore) -> None:
    shop(fake)
    fake.update("ServiceAccount", "shop", "web", {"metadata": {"annotations": {"eks.amazonaws.com/role-arn": ARN}}})
    async with replica(fake, store) as firebreak:
        fake.put(incident(playbook="unattended"))
        found = await firebreak.condition("shell", "IdentityContained", "False", "CloudCredentialsLive")
    (words,) = [c["message"] for c in found["status"]["conditions"] if c["type"] == "IdentityContained"]
    assert words.startswith(
        f"AWS role {ARN} of account shop/web is live; aws iam put-role-policy --role-name shop-web "
    )
