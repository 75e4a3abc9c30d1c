# The API: no torch, no model. Build from the repository's root:
#   docker build -f deploy/api.Dockerfile -t polyseme-api .
FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/polyseme
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY contract contract
COPY service service
COPY docs docs
COPY polyseme polyseme
# More of pyproject.toml's extras, with commas.
ARG EXTRAS=otel
RUN /opt/polyseme/bin/pip install -c constraints.txt ".[api,$EXTRAS]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home polyseme \
    && install -d -o polyseme /var/lib/polyseme /var/lib/polyseme/store /var/lib/polyseme/cache /etc/polyseme
COPY --from=build /opt/polyseme /opt/polyseme
ENV PATH=/opt/polyseme/bin:$PATH PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 POLYSEME_LOG_FORMAT=json \
    POLYSEME_STORE=/var/lib/polyseme/store POLYSEME_CATALOGUE=/etc/polyseme/models.toml \
    POLYSEME_CACHE=/var/lib/polyseme/cache PROMETHEUS_MULTIPROC_DIR=/tmp/polyseme-metrics
# The heartbeat's file must not wait for a disk. See polyseme/stack/gunicorn_conf.py for the other settings.
ENV WEB_CONCURRENCY=2 \
    GUNICORN_CMD_ARGS="--bind=0.0.0.0:8000 --graceful-timeout=30 --worker-tmp-dir=/dev/shm"
USER 10001
WORKDIR /var/lib/polyseme
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
CMD ["python", "-m", "polyseme.stack.serve"]
