"""The admission policies that fence the operator's account, as far as the operator itself tries them.

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
FENCES = frozenset(BY_TRIAL.values())


def refuse(call: Call, in_force: frozenset[str]) -> None:
    """Raise the refusal of a policy that is in force, for a trial of the operator's."""
    policy = BY_TRIAL.get((call.verb, call.resource))
    dry = call.query.get("dryRun") == "All" and call.namespace in {"firebreak", ""}
    if policy in in_force and (dry or call.name == GUARD):
        words = f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: firebreak: no"
        raise ApiError(403, "Forbidden", f'{call.resource} "{call.name or GUARD}" is forbidden: {words}')
