"""Eradication on a real cluster: rights gone by the token's own word, secrets changed where they are used, the cure in.

All incidents are opened at once, each in a namespace of its own, and each test waits for its own.
"""

import base64
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from cluster import archives, images
from cluster.choose import choose
from cluster.provider import ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl
from incidents import (
    IDLE,
    Door,
    Object,
    Place,
    account,
    binding,
    container,
    from_secret,
    place,
    pod,
    role,
    secret,
    workload,
)

pytestmark = pytest.mark.usefixtures("firebreak")

KNOWN_GOOD = "busybox:known-good"
ROTATE = "firebreak.dev/rotate"
RECIPE = {ROTATE: json.dumps({"password": {"length": 24, "alphabet": "hex"}})}
OLD = "swordfish-of-old"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
TOKEN_TYPE = "kubernetes.io/service-account-token"
ROLES = "rbac.authorization.k8s.io"
PASSWORD = [from_secret("PASSWORD", "database", "password")]


@dataclass(frozen=True)
class Attacked:
    """A pod that fell, where it stands, and what its intruder holds."""

    at: Place
    pod: str
    earlier: dict[str, str]
    """The resourceVersion of what must not change."""
    tokens: dict[str, str] = field(repr=False)

    def answers(self, token: str) -> tuple[int, int]:
        """What the API server says to a token that asks for config maps here, and for nodes."""
        door = Door.of(self.at.cluster)
        paths = (f"/api/v1/namespaces/{self.at.namespace}/configmaps", "/api/v1/nodes")
        return door.answers(token, paths[0]), door.answers(token, paths[1])


@pytest.fixture(scope="module")
def places(cluster: ClusterInfo, kubectl: Kubectl) -> Iterator[dict[str, Place]]:
    """A namespace for each incident."""
    with ExitStack() as stack:
        names = ("shop", "crowd", "standard", "cure", "stateful")
        found = {name: stack.enter_context(place(cluster, kubectl, name)) for name in names}
        yield found
    for at in found.values():
        kinds = "clusterrolebindings,clusterroles,playbooks"
        kubectl("delete", kinds, at.namespace, "--ignore-not-found")


@pytest.fixture(scope="module")
def known_good(cluster: ClusterInfo, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A second image: busybox again, under another name and with another digest."""
    folder = tmp_path_factory.mktemp("images")
    _, busybox = images.ensure(folder, cluster.bin / "pause")
    with tarfile.open(busybox) as archive:
        (layer,) = (name for name in archive.getnames() if name.endswith("/layer.tar"))
        archive.extract(layer, folder, filter="data")
    target = folder / "known-good.tar"
    archives.write(target, name=KNOWN_GOOD, layer=folder / layer, command=["sleep", "1000000"])
    choose().load_image(target)
    return KNOWN_GOOD


@pytest.fixture(scope="module")
def fallen(places: dict[str, Place], known_good: str) -> dict[str, Attacked]:
    """Every place with its workloads, attacked, and with its incident opened."""
    build(places, known_good)
    targets = {
        name: Attacked(at, target(name, at), versions(at, KEPT.get(name, ())), stolen(name, at))
        for name, at in places.items()
    }
    shop = targets["shop"]
    assert [shop.answers(token) for token in shop.tokens.values()] == [(200, 200), (200, 200)]
    playbooks = {"standard": "standard", "cure": places["cure"].namespace}
    for name, attacked in targets.items():
        attacked.at.open(name, attacked.pod, playbook=playbooks.get(name, "unattended"))
    return targets


def build(places: dict[str, Place], known_good: str) -> None:
    build_shop(places["shop"])
    crowd, standard, cure, stateful = (places[name] for name in ("crowd", "standard", "cure", "stateful"))
    everybody = {"kind": "Group", "name": f"system:serviceaccounts:{crowd.namespace}", "apiGroup": ROLES}
    crowd.apply(
        account("web"),
        role("Role", "keys", "secrets"),
        binding("RoleBinding", "everybody", "keys", everybody),
        pod("web", container(IDLE), serviceAccountName="web"),
    )
    standard.apply(
        account("web"),
        secret("database", RECIPE, password=OLD),
        role("ClusterRole", standard.namespace, "nodes"),
        binding("ClusterRoleBinding", standard.namespace, standard.namespace, subject("web", standard)),
        workload("Deployment", "web", container(IDLE, env=PASSWORD), serviceAccountName="web"),
    )
    cure.kubectl("annotate", "namespace", cure.namespace, f"firebreak.dev/known-good={known_good}")
    cure.apply(
        known_good_playbook(cure.namespace, known_good),
        secret("database", RECIPE, password=OLD),
        workload("Deployment", "web", container(IDLE, env=PASSWORD), replicas=2),
    )
    stateful.apply(workload("StatefulSet", "db", container(IDLE)))


def build_shop(shop: Place) -> None:
    """An account with rights from three bindings and a token that never expires; two secrets, two workloads."""
    jane = {"kind": "User", "name": "jane", "apiGroup": ROLES}
    legacy = secret("web-legacy", {"kubernetes.io/service-account.name": "web"}, kind=TOKEN_TYPE)
    shop.apply(account("web"), account("friend"))
    shop.apply(
        legacy,
        secret("database", RECIPE, password=OLD),
        secret("api-key", key="issued-elsewhere"),
        role("Role", "reader", "configmaps"),
        binding("RoleBinding", "shared", "reader", subject("web", shop), subject("friend", shop), jane),
        binding("RoleBinding", "friends", "reader", subject("friend", shop)),
        role("ClusterRole", shop.namespace, "nodes"),
        binding("ClusterRoleBinding", shop.namespace, shop.namespace, subject("web", shop)),
        workload(
            "Deployment",
            "web",
            container(IDLE, env=[*PASSWORD, from_secret("KEY", "api-key", "key")]),
            serviceAccountName="web",
        ),
        workload("Deployment", "api", container(IDLE, env=PASSWORD)),
    )


KEPT = {
    "shop": ("rolebinding/friends", "role/reader", "secret/api-key"),
    "standard": ("secret/database", "deployment/web", "clusterrolebinding"),
}


def versions(at: Place, kept: tuple[str, ...]) -> dict[str, str]:
    """The generation, or else the resourceVersion: a Deployment's status may change, what it asks for not."""
    found = {}
    for each in kept:
        metadata = at.get(each if "/" in each else f"{each}/{at.namespace}")["metadata"]
        found[each] = str(metadata.get("generation") or metadata["resourceVersion"])
    return found


def subject(name: str, where: Place) -> Object:
    return {"kind": "ServiceAccount", "name": name, "namespace": where.namespace}


def known_good_playbook(name: str, image: str) -> Object:
    replace = {"images": {"app": image}}
    steps = [{"quarantine": {}}, {"capture": {}}, {"revoke": {}}, {"rotate": {}}, {"replace": replace}]
    spec = {"approval": "Never", "steps": steps}
    return {"apiVersion": "firebreak.dev/v1alpha1", "kind": "Playbook", "metadata": {"name": name}, "spec": spec}


def target(name: str, at: Place) -> str:
    """The pod to attack, once its workloads are up."""
    if name == "crowd":
        at.ready("pod/web")
        return "web"
    if name == "stateful":
        at.wait("statefulset/db", "jsonpath={.status.readyReplicas}=1")
        return "db-0"
    for deployment in at.get("deployments")["items"]:
        at.ready(f"deployment/{deployment['metadata']['name']}")
    return pods(at, "app=web")[0]


def pods(at: Place, selector: str) -> list[str]:
    found = [item["metadata"] for item in at.get("pods", "--selector", selector)["items"]]
    return sorted(metadata["name"] for metadata in found if "deletionTimestamp" not in metadata)


def stolen(name: str, at: Place) -> dict[str, str]:
    """What an intruder in the shop's pod takes along."""
    if name != "shop":
        return {}
    at.wait("secret/web-legacy", "jsonpath={.data.token}")
    legacy = at.get("secret", "web-legacy")["data"]["token"]
    return {
        "of the pod": at.exec(pods(at, "app=web")[0], "cat", TOKEN).strip(),
        "legacy": base64.b64decode(legacy).decode(),
    }


def test_a_stolen_token_is_refused_where_it_was_allowed(fallen: dict[str, Attacked]) -> None:
    shop = fallen["shop"]
    words = shop.at.condition("shop", "IdentityContained", "True/Revoked", seconds=90)
    assert f"{shop.at.namespace}/web" in words
    assert shop.answers(shop.tokens["of the pod"]) == (403, 403)
    (left,) = shop.at.get("clusterrolebindings", "--field-selector", f"metadata.name={shop.at.namespace}")["items"]
    assert not left.get("subjects")
    assert [s["name"] for s in shop.at.get("rolebinding", "shared")["subjects"]] == ["friend", "jane"]


def test_the_rights_of_others_are_untouched(fallen: dict[str, Attacked]) -> None:
    shop = fallen["shop"]
    shop.at.condition("shop", "IdentityContained", "True", seconds=90)
    assert versions(shop.at, KEPT["shop"]) == shop.earlier
    friend = shop.at.kubectl("create", "token", "friend", "--namespace", shop.at.namespace).strip()
    assert shop.answers(friend) == (200, 403)


def test_rights_through_a_group_are_named_by_their_source(fallen: dict[str, Attacked]) -> None:
    crowd = fallen["crowd"].at
    words = crowd.condition("crowd", "IdentityContained", "False/RightsRemain", seconds=90)
    assert "still allowed:" in words
    assert f"list secrets in {crowd.namespace}" in words
    assert f'RoleBinding "everybody/{crowd.namespace}"' in words


def test_a_rotated_secret_reaches_who_uses_it_and_the_old_value_is_gone(fallen: dict[str, Attacked]) -> None:
    shop = fallen["shop"].at
    shop.condition("shop", "SecretsRotated", "False/ByHand", seconds=120)
    data = shop.get("secret", "database")["data"]
    new = base64.b64decode(data["password"]).decode()
    assert len(new) == 24
    assert set(new) <= set("0123456789abcdef")
    for name in ("web", "api"):
        (fresh,) = pods(shop, f"app={name}")
        assert password(shop, fresh) == new
    assert password(shop, fallen["shop"].pod) == OLD
    told = json.dumps(shop.get("incident", "shop"))
    assert new not in told
    assert OLD not in told


def password(at: Place, name: str) -> str:
    return at.exec(name, "sh", "-c", 'printf %s "$PASSWORD"')


def test_a_token_that_never_expires_is_deleted_and_refused(fallen: dict[str, Attacked]) -> None:
    shop = fallen["shop"].at
    shop.condition("shop", "SecretsRotated", "False", seconds=120)
    assert "web-legacy" not in shop.kubectl("get", "secrets", "-n", shop.namespace, "-o", "name")
    # The API server remembers for ten seconds that it knew a token, its rights never: 403 until then.
    wait_until(
        lambda: fallen["shop"].answers(fallen["shop"].tokens["legacy"]) == (401, 401),
        timeout=15,
        otherwise="the token of a deleted Secret is still known",
    )


def test_a_secret_whose_owner_did_not_opt_in_is_named_for_a_person(fallen: dict[str, Attacked]) -> None:
    shop = fallen["shop"].at
    words = shop.condition("shop", "SecretsRotated", "False/ByHand", seconds=120)
    assert words == f"not done: {shop.namespace}/api-key"
    change = shop.status("shop").steps["rotate"].changes[f"patch Secret {shop.namespace}/api-key"]
    assert change.state == "Manual"
    assert "did not opt in with the annotation firebreak.dev/rotate" in change.why
    shop.condition("shop", "ActionRequired", "True")


def test_the_standard_playbook_waits_for_a_person_and_sends_nothing(fallen: dict[str, Attacked]) -> None:
    standard = fallen["standard"].at
    words = standard.condition("standard", "ActionRequired", "True/WaitingForPerson", seconds=90)
    standard.condition("standard", "Ready", "True", seconds=90)
    standard.condition("standard", "Contained", "True")
    standard.condition("standard", "SecretsRotated", "False/AwaitingApproval")
    standard.condition("standard", "IdentityContained", "False/AwaitingApproval")
    assert "approve revoke" in words
    assert "approve rotate" in standard.status("standard").message
    assert versions(standard, KEPT["standard"]) == fallen["standard"].earlier
    assert base64.b64decode(standard.get("secret", "database")["data"]["password"]).decode() == OLD


def test_a_workload_comes_back_from_its_known_good_image(fallen: dict[str, Attacked]) -> None:
    cure, attacked = fallen["cure"].at, fallen["cure"].pod
    words = cure.condition("cure", "Recovered", "True/Ready", seconds=150)
    assert words == "Deployment web: 2 Ready, none quarantined"
    cure.condition("cure", "SecretsRotated", "True/Rotated")
    fresh = [cure.get("pod", name) for name in pods(cure, "app=web")]
    kept = cure.get("pod", attacked)
    assert [p["spec"]["containers"][0]["image"] for p in (*fresh, kept)] == [KNOWN_GOOD, KNOWN_GOOD, "busybox:1.35"]
    ids = {p["status"]["containerStatuses"][0]["imageID"] for p in fresh}
    assert kept["status"]["containerStatuses"][0]["imageID"] not in ids
    assert kept["status"]["phase"] == "Running"
    assert f"quarantine.firebreak.dev/{cure.get('incident', 'cure')['metadata']['uid']}" in kept["metadata"]["labels"]
    assert cure.get("deployment", "web")["status"]["readyReplicas"] == 2


def test_a_pod_of_a_stateful_set_is_kept_and_the_words_say_what_that_means(fallen: dict[str, Attacked]) -> None:
    stateful = fallen["stateful"].at
    uid = stateful.get("pod", "db-0")["metadata"]["uid"]
    words = stateful.condition("stateful", "Recovered", "False/ByHand", seconds=90)
    assert "StatefulSet db makes no fresh pod while db-0 is kept" in words
    assert list(stateful.status("stateful").pods) == [uid]
    stateful.condition("stateful", "Contained", "True")


def test_release_gives_the_rights_back(fallen: dict[str, Attacked]) -> None:
    shop = fallen["shop"]
    shop.at.condition("shop", "IdentityContained", "True", seconds=90)
    shop.at.condition("shop", "SecretsRotated", "False", seconds=120)
    wish = ("--rights", "--no-network", "--verdict", "Exercise", "--yes", "-o", "json")
    ran = shop.at.firebreak("release", "shop", *wish)
    assert ran.code == 0, ran.err
    assert {change["result"] for change in json.loads(ran.out)["changes"]} == {"Done"}
    assert shop.answers(shop.tokens["of the pod"]) == (200, 200)
    assert [s["name"] for s in shop.at.get("rolebinding", "shared")["subjects"]] == ["friend", "jane", "web"]
    assert shop.answers(shop.tokens["legacy"]) == (401, 401)
