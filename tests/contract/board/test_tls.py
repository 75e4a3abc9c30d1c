"""Board and queue over TLS (`rediss://`), to a real Redis behind a socket that speaks it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from polyseme.contract.board.board import Board
from polyseme.contract.tickets import connect_queue, send_ticket, ticket_keys
from tests.factories import open_job
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, signed by itself, with its key in the same folder."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl was not found, which makes a certificate")
    folder = tmp_path_factory.mktemp("tls")
    options = "-x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    command = ["openssl", "req", *options.split(), *names, *files]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "cert.pem"


@contextmanager
def speaking_tls(server: RedisServer, certificate: Path) -> Iterator[int]:
    """The port of 127.0.0.1 on which it does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.parent / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, server), daemon=True).start()
        yield int(listener.getsockname()[1])


def _accept(listener: socket.socket, context: ssl.SSLContext, server: RedisServer) -> None:
    path = f"{server.folder}/redis.sock"
    with suppress(OSError):
        while True:
            raw, _ = listener.accept()
            try:
                client = context.wrap_socket(raw, server_side=True)
            except (ssl.SSLError, OSError):
                continue
            inner = socket.socket(socket.AF_UNIX)
            inner.connect(path)
            for source, target in ((client, inner), (inner, client)):
                threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def test_board_and_queue_speak_tls_and_trust_nobody_else(certificate: Path) -> None:
    with RedisServer.running() as server, speaking_tls(server, certificate) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={certificate}"
        board = Board.connect(url)

        job = open_job(board)
        send_ticket(connect_queue(url), "default")

        found = Board.connect(server.url)
        assert found.jobs.get(job.id) == job
        assert found.workers.count_tickets(ticket_keys()) == {"default": 1}
        with pytest.raises(redis.ConnectionError, match="certificate"):
            Board.connect(f"rediss://127.0.0.1:{port}/0").ping()
