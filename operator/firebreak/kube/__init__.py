"""All contact with the API server: client, survey of facts, exec streams, logs, describe, probe.

Nothing here decides; `model` and `steps` decide. Foreign errors stop here and become `kube.errors`.
"""
