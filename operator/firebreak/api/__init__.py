"""What people write and read: the resources of group `firebreak.dev`, as pydantic models.

The CRDs in `crds/` are generated from these models (`firebreak crds`). No behaviour lives here beyond validation.
"""

GROUP = "firebreak.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
