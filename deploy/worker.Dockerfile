# A worker. Build from the repository's root:
#   docker build -f deploy/worker.Dockerfile -t polyseme-worker .
# For NVIDIA GPUs:
#   docker build -f deploy/worker.Dockerfile -t polyseme-worker:gpu \
#     --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
FROM python:3.12-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/polyseme
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
# torch is a layer of its own: it is large and seldom changes. What it needs comes from PyPI, two steps below.
RUN /opt/polyseme/bin/pip install -c constraints.txt --no-deps --index-url "$TORCH_INDEX" torch
COPY contract contract
COPY workers workers
COPY polyseme polyseme
# More of pyproject.toml's extras, with commas.
ARG EXTRAS=otel
RUN /opt/polyseme/bin/pip install -c constraints.txt ".[worker,$EXTRAS]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home polyseme \
    && install -d -o polyseme /var/lib/polyseme /var/lib/polyseme/store /var/lib/polyseme/cache /etc/polyseme
COPY --from=build /opt/polyseme /opt/polyseme
COPY deploy/worker_health.py /etc/polyseme/worker_health.py
ENV PATH=/opt/polyseme/bin:$PATH PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 POLYSEME_LOG_FORMAT=json \
    POLYSEME_STORE=/var/lib/polyseme/store POLYSEME_CATALOGUE=/etc/polyseme/models.toml \
    POLYSEME_CACHE=/var/lib/polyseme/cache NUMBA_CACHE_DIR=/var/lib/polyseme/cache/numba
USER 10001
WORKDIR /var/lib/polyseme
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "/etc/polyseme/worker_health.py"]
CMD ["python", "-m", "polyseme.workers"]
