# One image for nodes, trainers and the init service of docker-compose.yml; see docs/docker.md.
# It holds programs alone: keys, genesis and chains live in volumes.

FROM python:3.11-slim AS build
# Another package index than pip's own: docker compose build --build-arg PIP_INDEX_URL=...
ARG PIP_INDEX_URL
WORKDIR /src
RUN python -m venv --without-pip /opt/foedus
# Without a compiler aggregation runs on numpy: the same bits, several times slower.
RUN (timeout 120 apt-get -qq update && timeout 300 apt-get -qq install -y --no-install-recommends gcc libc6-dev) \
      > /tmp/compiler.log 2>&1 || echo "no C compiler: $(tail -n 1 /tmp/compiler.log)"
# Libraries first, so that a change of the code does not fetch them again.
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      > /tmp/libraries.txt \
 && pip --python /opt/foedus/bin/python --disable-pip-version-check install --no-cache-dir -r /tmp/libraries.txt
COPY . ./
RUN pip --python /opt/foedus/bin/python --disable-pip-version-check install --no-cache-dir --no-deps . \
 && find /opt/foedus -type d -name tests -path '*/site-packages/numpy/*' -prune -exec rm -rf {} +

FROM python:3.11-slim
# Whose volumes the init service fills. A fresh volume takes its owner from the directory it is mounted on.
ARG NODES="cleveland hungary switzerland va-long-beach"
ARG TRAINERS=$NODES
RUN groupadd --gid 10001 foedus \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin foedus \
 && mkdir -p /consortium /node /trainer /volumes/consortium /volumes/officers \
 && for name in $NODES; do mkdir -p "/volumes/nodes/$name" || exit 1; done \
 && for name in $TRAINERS; do mkdir -p "/volumes/trainers/$name" || exit 1; done \
 && chown -R foedus:foedus /consortium /node /trainer /volumes \
 && chmod -R go-rwx /node /trainer /volumes
COPY --from=build /opt/foedus /opt/foedus
COPY docker/init.sh /opt/foedus/bin/init.sh
ENV PATH=/opt/foedus/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    OPENBLAS_NUM_THREADS=1 \
    FOEDUS_CONFIG=/node/node.toml \
    FOEDUS_GENESIS__PATH=/consortium/genesis.json
USER foedus
EXPOSE 7001 8001
ENTRYPOINT ["foedus"]
CMD ["node", "run"]
