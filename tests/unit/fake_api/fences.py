"""The admission policies, as far as Firebreak tries whether they are in force.

The real server looks an object up before it asks admission about a patch; here what is tried need not be there.
"""

from .errors import ApiError
from .journal import Call

GUARD = "firebreak-guard"
BY_TRIAL = {
    ("patch", "pods"): "firebreak-contain-pods",
    ("create", "networkpolicies"): "firebreak-contain-policies",
    ("create", "pods"): "firebreak-contain-probe",
    ("create", "configmaps"): "firebreak-contain-records",
    ("get", "pods/exec"): "firebreak-preserve-exec",
    ("patch", "clusterrolebindings"): "firebreak-eradicate-bindings",
    ("patch", "secrets"): "firebreak-eradicate-secrets",
    ("patch", "deployments"): "firebreak-eradicate-workloads",
    ("patch", "nodes"): "firebreak-node-cordon",
}
OF_PEOPLE = {
    ("create", "approvals"): "firebreak-approvals",
    ("create", "incidents"): "firebreak-creators",
    ("create", "pods"): "firebreak-quarantine-forgery",
}
POD_MAKER = "system:serviceaccount:kube-system:replicaset-controller"
INTAKE = "system:serviceaccount:firebreak:firebreak-intake"
OF_INTAKE = "firebreak-intake"
FENCES = frozenset({*BY_TRIAL.values(), *OF_PEOPLE.values(), OF_INTAKE})


def refuse(call: Call, in_force: frozenset[str]) -> None:
    """Raise the refusal of a policy that is in force, for a trial."""
    asked = (call.verb, call.resource)
    policy = OF_PEOPLE.get(asked) if call.user == POD_MAKER or asked not in BY_TRIAL else BY_TRIAL[asked]
    dry = call.query.get("dryRun") == "All" and call.namespace in {"firebreak", ""}
    if call.user == INTAKE and asked == ("create", "incidents"):
        policy = OF_INTAKE
    if policy in in_force and (dry or call.name == GUARD):
        words = f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: firebreak: no"
        raise ApiError(403, "Forbidden", f'{call.resource} "{call.name or GUARD}" is forbidden: {words}')
