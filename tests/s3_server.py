"""A server that speaks S3, and what its clients need."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def running_s3() -> Iterator[str]:
    """Its address. Skips where the packages for it are not installed."""
    pytest.importorskip("s3fs", reason="s3:// needs s3fs: pip install 'polyseme[s3]'")
    server = pytest.importorskip(
        "moto.server", reason="needs an S3 server: pip install 'moto[s3]' flask-cors"
    )
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        running.stop()


def s3_environ(endpoint: str) -> dict[str, str]:
    """With what a client finds it."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def make_bucket() -> str:
    """The URL of a store in a new bucket. The environment has what `s3_environ` gives."""
    import boto3

    bucket = f"polyseme-{secrets.token_hex(4)}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/polyseme"
