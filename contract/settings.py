"""Settings, read once from the environment by an entry point and passed on.

Nothing else reads the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from polyseme.contract.names import DEFAULT_QUEUE, parse_queues

_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
_READERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": lambda text: _FLAGS[text.strip().lower()],
}


def _bytes(default: int) -> Any:
    return field(default=default, metadata={"unit": "bytes"})


@dataclass(frozen=True)
class Settings:
    """Each field is read from POLYSEME_<FIELD IN CAPITALS>;

    `redis_url` from REDIS_URL too, and `trusted_proxies` from gunicorn's FORWARDED_ALLOW_IPS.
    """

    redis_url: str = "redis://127.0.0.1:6379/0"  # or unix:///path/to/socket
    store: str = "./polyseme-data/store"  # an fsspec URL or a folder
    catalogue: str = "./polyseme-data/models.toml"
    cache: str = "./polyseme-data/cache"  # local and disposable: converted models
    inline_bytes: int = _bytes(1 << 20)  # of a JSON request body
    batch_bytes: int = _bytes(8 << 20)  # of the body that submits a batch
    max_batch_jobs: int = 1000  # entries of a batch
    max_record_bytes: int = _bytes(256 << 10)  # of a job's request, as it is kept in Redis
    upload_bytes: int = _bytes(1 << 30)  # of an uploaded corpus, unpacked
    max_documents: int = 1_000_000  # a corpus
    max_top_k: int = 200
    max_window: int = 2048
    # of one API process; see service/http/thread_slots.py for how many may be held by who waits
    api_threads: int = 16
    # hosts and networks that webhooks may go to though they are not public; commas between
    webhook_allow: str = ""
    # addresses and networks of proxies whose X-Forwarded-Proto, X-Forwarded-Prefix and SCRIPT_NAME
    # are believed; commas between, * for any
    trusted_proxies: str = "127.0.0.1,::1"
    # of pages whose scripts may ask the API, such as https://example.org; commas between
    cors_origins: str = ""
    # of pages that may show a neuron in a frame, such as https://example.org; commas between
    embed_origins: str = ""
    max_active_jobs: int = 1000  # queued or running; beyond it a submit answers 429
    # who is served while there is no API key: loopback; any, behind what authenticates
    keyless: str = "loopback"
    tenant_active_jobs: int = 100  # quotas of a tenant that has none of its own; 0 is no limit
    tenant_queued_tokens: int = 1_000_000_000  # of its jobs that have not ended
    tenant_stored_bytes: int = 100 << 30  # of its corpora, results and jobs' records
    tenant_requests_per_minute: int = 6000
    # after a job's end, until its record and result are deleted; 0 keeps them
    retention_s: float = 0.0
    model_memory_bytes: int = 0  # of loaded models a worker keeps; 0 is half of the device's memory
    device: str = "auto"  # auto, cpu, cuda, cuda:N
    dtype: str = "float32"  # of the model's weights and activations: float32, bfloat16
    compile: bool = False  # the model's layers with torch.compile, when they first run
    # a folder with the sentence encoder of words; the installed MiniLM, if any, when empty
    encoder: str = ""
    threads: int = 0  # of a worker's torch; 0 leaves torch's choice
    # tokens run through the model at once, part of the result's identity; 0: by the device
    block_tokens: int = 0
    shard_tokens: int = 0  # tokens of a shard; 0: by the device
    # units of one job that wait or run at once: as many workers can work on it
    shards_in_flight: int = 128
    queues: str = DEFAULT_QUEUE  # that a worker serves, with commas between them
    lease_s: float = 15.0  # a worker's claim on a unit of work without a heartbeat
    queue_patience_s: float = 600.0  # a queued unit not begun by then is sent again
    store_patience_s: float = 86400.0  # that a job waits for a store that is away, before it fails
    # without progress, at least, until a unit is taken from its worker though the store works
    stall_s: float = 900.0
    max_attempts: int = 3  # at one unit, before the job fails
    log_format: str = "text"  # text, json
    log_requests: str = "all"  # all; failed: those answered with 400 or more; none
    metrics_host: str = "127.0.0.1"  # where a worker serves its metrics
    metrics_port: int = 0  # 0: it does not
    allow_volatile_redis: bool = False  # start on a Redis that would lose jobs when it is killed

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Raises ValueError naming the variable whose text is no value of its field."""
        values: dict[str, Any] = {}
        if url := environ.get("REDIS_URL"):
            values["redis_url"] = url
        if proxies := environ.get("FORWARDED_ALLOW_IPS"):
            values["trusted_proxies"] = proxies
        for f in fields(cls):
            name = f"POLYSEME_{f.name.upper()}"
            if (text := environ.get(name)) is None:
                continue
            read: Callable[[str], Any] = _READERS[str(f.type)]
            try:
                values[f.name] = read(text)
            except (ValueError, KeyError) as e:
                raise ValueError(f"{name}={text!r}: expected {f.type}") from e
        settings = cls(**values)
        parse_queues(settings.queues)
        return settings

    @property
    def queue_names(self) -> tuple[str, ...]:
        """Raises ValueError for a name that is none."""
        return parse_queues(self.queues)

    def folders(self) -> dict[str, str]:
        """Where files lie, and what a log says instead."""
        named = {self.store: "store", self.cache: "cache", self.catalogue: "models.toml"}
        known = {path: name for path, name in named.items() if "://" not in path}
        absolute = {str(Path(path).resolve()): name for path, name in known.items()}
        return absolute | {path: name for path, name in known.items() if path.startswith("/")}

    def to_environ(self) -> dict[str, str]:
        """The variables that make `from_environ` give these settings: how a supervisor hands them
        to its children.
        """
        return {f"POLYSEME_{f.name.upper()}": str(getattr(self, f.name)) for f in fields(self)}
