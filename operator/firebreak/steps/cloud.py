"""Cloud identities of pods and accounts: what of the cloud a pod could act as, and the command that ends it.

They outlive every cut in the cluster: their credentials are checked by the cloud. What is read here, a pod's spec and
its account's annotations, may be an attacker's, and people paste the commands: a name that does not look as the cloud
writes it is withheld.

Sources, and what they say:
- EKS, "Assign IAM roles to Kubernetes service accounts" (IRSA): the annotation; its webhook sets `AWS_ROLE_ARN` and
  `AWS_WEB_IDENTITY_TOKEN_FILE` (amazon-eks-pod-identity-webhook, README: a token lives 24 hours by default).
- IAM, "Revoke IAM role temporary security credentials": the inline policy `AWSRevokeOlderSessions`, a Deny on
  everything with `DateLessThan` on `aws:TokenIssueTime`; it concerns everybody who assumed the role before.
- EKS, "Understand how EKS Pod Identity works": `AWS_CONTAINER_CREDENTIALS_FULL_URI` is set, and a token for the
  audience `pods.eks.amazonaws.com` is mounted; which role belongs to the account is known to EKS, not to the cluster.
- GKE, "About Workload Identity Federation": the annotation names an account to act as; without it every account of a
  cluster that has it is a principal of its own, `.../subject/ns/NAMESPACE/sa/NAME`, to which roles may be granted.
  Nodes on which it works carry the label `iam.gke.io/gke-metadata-server-enabled` ("Use Workload Identity Federation").
- Azure Workload Identity, "Service Account Labels and Annotations" and "Mutating Admission Webhook": the annotation,
  `AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE`; the trust is a federated credential of the identity, by subject.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from firebreak.api.base import Json
from firebreak.model.change import Change, Ref, Risk, Verb
from firebreak.model.facts import Account
from firebreak.model.loose import mapping, mappings, text
from firebreak.model.pod import Pod

ROLE = re.compile(
    r"arn:aws[a-z-]{0,16}:iam::[0-9]{12}:role/(?:[A-Za-z0-9_+=,.@-]+/)*[A-Za-z0-9_+=,.@][A-Za-z0-9_+=,.@-]{0,63}"
)
EMAIL = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}@[a-z0-9.-]{1,100}\.gserviceaccount\.com")
CLIENT = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
LONGEST = 560
GKE_NODE = "iam.gke.io/gke-metadata-server-enabled"


class Kind(StrEnum):
    """By which way a pod gets to act as something of a cloud; the values stand in records."""

    IRSA = "aws-irsa"
    POD_IDENTITY = "aws-pod-identity"
    GOOGLE = "google-service-account"
    GOOGLE_DIRECT = "google-federation"
    AZURE = "azure-workload-identity"


FORMS = {Kind.IRSA: ROLE, Kind.GOOGLE: EMAIL, Kind.AZURE: CLIENT}
ANNOTATIONS = {
    "eks.amazonaws.com/role-arn": Kind.IRSA,
    "iam.gke.io/gcp-service-account": Kind.GOOGLE,
    "azure.workload.identity/client-id": Kind.AZURE,
}
ENVIRONMENT = {"AWS_ROLE_ARN": Kind.IRSA, "AZURE_CLIENT_ID": Kind.AZURE}
TOKEN_FILES = {Kind.IRSA: "AWS_WEB_IDENTITY_TOKEN_FILE", Kind.AZURE: "AZURE_FEDERATED_TOKEN_FILE"}
AUDIENCES = {
    "sts.amazonaws.com": Kind.IRSA,
    "pods.eks.amazonaws.com": Kind.POD_IDENTITY,
    "api://AzureADTokenExchange": Kind.AZURE,
}
POD_IDENTITY_AGENT = ("http://169.254.170.23/", "http://[fd00:ec2::23]/")


@dataclass(frozen=True)
class CloudIdentity:
    """Something of a cloud that an account's pods can act as. `name` is empty where the cluster does not tell it."""

    kind: Kind
    account: Account
    name: str = ""

    @property
    def certain(self) -> bool:
        """Whether it is there for sure: on GKE every account is a principal, and only the cloud knows of what use."""
        return self.kind is not Kind.GOOGLE_DIRECT

    @property
    def plain(self) -> bool:
        """Whether its name looks as the cloud writes it."""
        form = FORMS.get(self.kind)
        return not self.name or form is None or form.fullmatch(self.name) is not None

    @property
    def command(self) -> str:
        """The command that ends it, to be pasted into a shell."""
        return _COMMANDS[self.kind](self.name if self.name and self.plain else _PLACE[self.kind], self.account)

    @property
    def change(self) -> Change:
        """The call of the hook that is to end it."""
        return Change(
            Verb.CALL,
            Ref("CloudIdentity", f"{self.record} of {self.account.name}", self.account.namespace),
            body={"kind": self.kind, "name": self.name, "serviceAccount": self.account.name},
            why=f"{self} outlives every cut in the cluster; the hook of the settings is asked to end it",
            undo="by hand, in the cloud: only the hook knows what it did",
            risk=Risk(reversible=False, beyond=True),
            refusal=None if self.plain else "its name does not look as the cloud writes it; end it by hand",
        )

    @property
    def record(self) -> str:
        """What stands for it in a pod's record."""
        return f"{self.kind} {self.name}".rstrip()

    def __str__(self) -> str:
        shown = self.name if self.plain else "(name withheld: unusual characters; read the annotation)"
        return f"{_WHAT[self.kind]} {shown}".rstrip() + f" of account {self.account}"

    @property
    def words(self) -> str:
        """What is live, the command that ends it, and what the command does not do."""
        live = "is live" if self.certain else "may hold roles"
        return f"{self} {live}; {self.command} ({_NOTES[self.kind]})"


def recorded(account: Account, words: str) -> CloudIdentity | None:
    """Return what `CloudIdentity.record` wrote; None for anything else."""
    kind, _, name = words.partition(" ")
    return CloudIdentity(Kind(kind), account, name) if kind in set(Kind) else None


def of_account(account: Account, raw: Json) -> Iterator[CloudIdentity]:
    """Yield what the annotations of a ServiceAccount object let its pods act as."""
    for key, value in mapping(mapping(raw.get("metadata")).get("annotations")).items():
        if key in ANNOTATIONS:
            yield CloudIdentity(ANNOTATIONS[key], account, text(value)[:LONGEST])


def of_pod(pod: Pod) -> Iterator[CloudIdentity]:
    """Yield what a pod's spec, as webhooks completed it, lets it act as."""
    account = Account(pod.namespace, pod.account)
    named: set[Kind] = set()
    for _, container in pod.containers():
        env = {text(e.get("name")): text(e.get("value")) for e in mappings(container.get("env"))}
        for variable, kind in ENVIRONMENT.items():
            if TOKEN_FILES[kind] in env and env.get(variable):
                named.add(kind)
                yield CloudIdentity(kind, account, env[variable][:LONGEST])
        if env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "").startswith(POD_IDENTITY_AGENT):
            named.add(Kind.POD_IDENTITY)
            yield CloudIdentity(Kind.POD_IDENTITY, account)
    for audience in _audiences(pod):
        if audience in AUDIENCES and AUDIENCES[audience] not in named:
            yield CloudIdentity(AUDIENCES[audience], account)


def _audiences(pod: Pod) -> Iterator[str]:
    for volume in mappings(pod.spec.get("volumes")):
        for source in mappings(mapping(volume.get("projected")).get("sources")):
            yield text(mapping(source.get("serviceAccountToken")).get("audience"))


def of_nodes(accounts: Iterable[Account], nodes: Iterable[Json]) -> Iterator[CloudIdentity]:
    """Yield the principals that GKE makes of accounts, where one of these nodes shows that it does."""
    labels = (mapping(mapping(node.get("metadata")).get("labels")) for node in nodes)
    if any(each.get(GKE_NODE) == "true" for each in labels):
        yield from (CloudIdentity(Kind.GOOGLE_DIRECT, account) for account in accounts)


def merged(found: Iterable[CloudIdentity]) -> tuple[CloudIdentity, ...]:
    """Return each identity once; one whose name is told elsewhere needs no nameless twin."""
    distinct = sorted(set(found), key=lambda i: (i.account.namespace, i.account.name, i.kind, i.name))
    named = {(i.kind, i.account) for i in distinct if i.name}
    return tuple(i for i in distinct if i.name or (i.kind, i.account) not in named)


_WHAT = {
    Kind.IRSA: "AWS role",
    Kind.POD_IDENTITY: "AWS role by EKS Pod Identity (named in EKS only)",
    Kind.GOOGLE: "Google service account",
    Kind.GOOGLE_DIRECT: "Google principal",
    Kind.AZURE: "Azure identity",
}
_PLACE = {
    Kind.IRSA: "ROLE_ARN",
    Kind.POD_IDENTITY: "",
    Kind.GOOGLE: "EMAIL",
    Kind.GOOGLE_DIRECT: "",
    Kind.AZURE: "CLIENT_ID",
}
_NOTES = {
    Kind.IRSA: "a stolen token gets new sessions until it expires, by default within 24 hours: until then take the "
    "account out of the role's trust policy as well",
    Kind.POD_IDENTITY: "then end the sessions of the role that it names: policy AWSRevokeOlderSessions",
    Kind.GOOGLE: "it stops everything that acts as it; undo: gcloud iam service-accounts enable",
    Kind.GOOGLE_DIRECT: "lists what is granted to it; take that away",
    Kind.AZURE: "an app registration instead of a managed identity: az ad app federated-credential; tokens that were "
    "issued live on until they expire",
}


def _revoke_sessions(arn: str, _: Account) -> str:
    """The policy that the console's "Revoke sessions" writes; the time is that at which the command is run."""
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":'
        '{"DateLessThan":{"aws:TokenIssueTime":"\'$(date -u +%Y-%m-%dT%H:%M:%SZ)\'"}}}]}'
    )
    role = arn.rpartition("/")[2]
    return (
        f"aws iam put-role-policy --role-name {role} --policy-name AWSRevokeOlderSessions --policy-document '{policy}'"
    )


def _delete_association(_: str, account: Account) -> str:
    where = f"--namespace {account.namespace} --service-account {account.name}"
    return (
        f"aws eks list-pod-identity-associations --cluster-name CLUSTER {where} and, with its id, "
        "aws eks delete-pod-identity-association --cluster-name CLUSTER --association-id ID"
    )


def _disable(email: str, _: Account) -> str:
    return f"gcloud iam service-accounts disable {email}"


def _list_grants(_: str, account: Account) -> str:
    subject = f"subject/ns/{account.namespace}/sa/{account.name}"
    return f"gcloud asset search-all-iam-policies --scope=projects/PROJECT --query='policy:\"{subject}\"'"


def _delete_federation(client: str, account: Account) -> str:
    subject = f"system:serviceaccount:{account.namespace}:{account.name}"
    return (
        f"az identity list --query \"[?clientId=='{client}'].[name,resourceGroup]\" -o tsv | while read -r NAME GROUP; "
        'do az identity federated-credential list --identity-name "$NAME" --resource-group "$GROUP" '
        f"--query \"[?subject=='{subject}'].name\" -o tsv | xargs -r -I{{}} az identity federated-credential delete "
        '--identity-name "$NAME" --resource-group "$GROUP" --name {} --yes; done'
    )


_COMMANDS = {
    Kind.IRSA: _revoke_sessions,
    Kind.POD_IDENTITY: _delete_association,
    Kind.GOOGLE: _disable,
    Kind.GOOGLE_DIRECT: _list_grants,
    Kind.AZURE: _delete_federation,
}
