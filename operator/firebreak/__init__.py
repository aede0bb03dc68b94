"""Firebreak: a Kubernetes operator for incident response.

The rooms, from pure to effectful: `api` (what people write and read), `model` and `steps` (deciding; no I/O), `kube`
and `evidence` (contact with the API server and the object store), `engine` (carrying out), `operator` and `cli`.
"""

from importlib.metadata import version

__version__ = version("firebreak-operator")
