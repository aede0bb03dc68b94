# The image of the operator. `make image` prepares the inputs (tools/image-inputs) and builds it.
#
# Two builds of the same inputs give the same image, where the builder sets all times to SOURCE_DATE_EPOCH: buildah with
# --timestamp, BuildKit with that build argument and rewrite-timestamp=true. `make image-twice` compares.
#
# BASE: a Debian bookworm with Python 3.11 and its venv module, named by digest. All stages use the same one: the
# environment made in the first points to its python, wherever that lies. The default is the index digest of 3.11.16.
ARG BASE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE} AS builder
# The system's certificates instead of pip's own, so that those of a proxy count.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CERT=/etc/ssl/certs/ca-certificates.crt
# The operator's environment has no pip: the image has no use for it, an intruder would.
RUN python3 -m venv /opt/installer && python3 -m venv --without-pip /opt/firebreak && \
    python3 -m venv --without-pip /opt/inventory
# Dependencies first, by hash: this layer stays cached until the lock file changes. Wheels only: nothing is compiled by
# them. Bytecode knows its source by hash, for times would differ from build to build; the thousands of generated
# models of the Kubernetes client, of which a handful is ever loaded, do without.
COPY .build/requirements.txt /build/requirements.txt
RUN /opt/installer/bin/pip --python /opt/firebreak/bin/python install --quiet --no-compile \
      --require-hashes --no-deps --only-binary :all: --requirement /build/requirements.txt && \
    /opt/firebreak/bin/python -m compileall -q --invalidation-mode unchecked-hash \
      -x '/kubernetes/(aio/)?client/(models|api)/' /opt/firebreak/lib
COPY .build/sbom-requirements.txt /build/sbom-requirements.txt
RUN /opt/installer/bin/pip --python /opt/inventory/bin/python install --quiet \
      --require-hashes --no-deps --only-binary :all: --requirement /build/sbom-requirements.txt
# What changes with every commit comes last, in one layer: Firebreak, and then the list of what is in the image: the Python
# packages as installed, the packages of the base, kubectl and its modules.
ARG BASE
COPY .build/bin/kubectl /build/bin/kubectl
COPY tools/sbom.py .build/kubectl.modules /build/
COPY .build/dist/*.whl /build/dist/
RUN /opt/installer/bin/pip --python /opt/firebreak/bin/python install --quiet --no-compile --no-deps --no-index \
      /build/dist/*.whl && \
    /opt/firebreak/bin/python -m compileall -q --invalidation-mode unchecked-hash \
      /opt/firebreak/lib/python3*/site-packages/firebreak && \
    /opt/inventory/bin/cyclonedx-py environment --output-reproducible --spec-version 1.6 \
      --output-file /build/python.json /opt/firebreak/bin/python && \
    python3 /build/sbom.py --base "${BASE}" --python /build/python.json --kubectl /build/bin/kubectl \
      --modules /build/kubectl.modules > /build/sbom.cdx.json

FROM ${BASE}
ARG BASE
LABEL org.opencontainers.image.title="Firebreak" \
      org.opencontainers.image.description="A Kubernetes operator for incident response" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}" \
      dev.firebreak.sbom="/usr/share/doc/firebreak/sbom.cdx.json"
# The root filesystem is read-only at run time; modules were compiled while the environment was built.
ENV PATH=/opt/firebreak/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
# The real kubectl writes `describe` into the evidence.
COPY --chmod=0755 .build/bin/kubectl /usr/local/bin/kubectl
COPY --from=builder /opt/firebreak /opt/firebreak
COPY --from=builder /build/sbom.cdx.json /usr/share/doc/firebreak/sbom.cdx.json
WORKDIR /tmp
# The manifests set runAsGroup as well: the gid is lost where the uid is not in /etc/passwd.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["firebreak"]
CMD ["run"]
