# The image of the operator. `make image` prepares the inputs (tools/image-inputs) and builds it.
#
# BASE: a Debian bookworm with Python 3.11 and its venv module. Both stages use the same one: the environment made in the
# first points to its python, wherever that lies.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
# The system's certificates instead of pip's own, so that those of a proxy count.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CERT=/etc/ssl/certs/ca-certificates.crt
# The operator's environment has no pip: the image has no use for it, an intruder would.
RUN python3 -m venv /opt/installer && python3 -m venv --without-pip /opt/firebreak
# Dependencies first, by hash: this layer stays cached until the lock file changes. Wheels only: nothing is compiled.
COPY .build/requirements.txt /build/requirements.txt
RUN /opt/installer/bin/pip --python /opt/firebreak/bin/python install --quiet \
      --require-hashes --no-deps --only-binary :all: --requirement /build/requirements.txt
COPY .build/dist/*.whl /build/dist/
RUN /opt/installer/bin/pip --python /opt/firebreak/bin/python install --quiet --no-deps --no-index /build/dist/*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="Firebreak" \
      org.opencontainers.image.description="A Kubernetes operator for incident response" \
      org.opencontainers.image.licenses="Apache-2.0"
# The root filesystem is read-only at run time; modules were compiled while the environment was built.
ENV PATH=/opt/firebreak/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
# The real kubectl writes `describe` into the evidence.
COPY --chmod=0755 .build/bin/kubectl /usr/local/bin/kubectl
COPY --from=builder /opt/firebreak /opt/firebreak
WORKDIR /tmp
# The manifests set runAsGroup as well: the gid is lost where the uid is not in /etc/passwd.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["firebreak"]
CMD ["run"]
