"""A Kubernetes to test on: `python -m cluster up | down [--purge] | status | info | load TAR | build-image ...`.

Three providers behind one interface (`provider.py`); `choose.py` picks the first that fits:

- `existing`: FIREBREAK_KUBECONFIG names a cluster, which is used as it is.
- `kind`: Docker or Podman answers.
- `local`: neither. The real Kubernetes, started here on Debian as root: the programs are built from source once
  (`binaries.py`) and run in namespaces of their own (`namespaces.py`, `machine.py`), with containerd, an enforcer of
  network policies (`netpol.py`, `enforcer.py`) and an S3 server (`s3.py`). The first `up` takes about six minutes,
  later ones five seconds, and one that finds everything running a quarter of a second.

A local cluster keeps its state in ~/.cache/firebreak/cluster (or FIREBREAK_CLUSTER_HOME): kubeconfig, logs, audit log,
images, etcd. One can run at a time on a machine, for its addresses are fixed. It has no cluster DNS: see `local.py`.

Tests stop, kill and start its components through `control.py`.
"""
