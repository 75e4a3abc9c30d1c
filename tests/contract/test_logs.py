from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context
from datetime import datetime
from pathlib import Path

import pytest

from polyseme.contract.logs import (
    JsonFormatter,
    TextFormatter,
    add_log_ids,
    clear_log_ids,
    log_ids,
    logging_config,
)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the logger "tried" writes as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("tried")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)
    clear_log_ids()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_a_line_of_json_with_ids_and_fields(written: io.StringIO) -> None:
    with log_ids(job="job_1", unit="scan:3", tenant=None):
        logging.getLogger("tried").info("begun %s", "now", extra={"fields": {"attempt": 2}})

    (line,) = lines(written)
    assert datetime.fromisoformat(str(line.pop("time"))).tzinfo is not None
    assert line == {
        "level": "info",
        "logger": "tried",
        "message": "begun now",
        "job": "job_1",
        "unit": "scan:3",
        "attempt": 2,
    }


def test_ids_end_with_their_block_and_inner_ones_go_first(written: io.StringIO) -> None:
    log = logging.getLogger("tried")
    with log_ids(job="a", request="r"):
        with log_ids(job="b"):
            log.info("inner")
        log.info("outer")
    log.info("after")

    assert [(x.get("job"), x.get("request")) for x in lines(written)] == [
        ("b", "r"),
        ("a", "r"),
        (None, None),
    ]


def test_added_ids_stay_until_they_are_cleared(written: io.StringIO) -> None:
    add_log_ids(request="r")
    logging.getLogger("tried").info("with")
    clear_log_ids()
    logging.getLogger("tried").info("without")

    assert [x.get("request") for x in lines(written)] == ["r", None]


def test_a_thread_logs_for_nobody_unless_it_was_given_the_context(written: io.StringIO) -> None:
    log = logging.getLogger("tried")
    with log_ids(job="a"):
        alone = threading.Thread(target=log.info, args=("alone",))
        given = threading.Thread(target=copy_context().run, args=(log.info, "given"))
    for thread in (alone, given):
        thread.start()
        thread.join()

    assert [x.get("job") for x in lines(written)] == [None, "a"]


def test_an_exception_stays_in_its_line(written: io.StringIO) -> None:
    try:
        raise ValueError("no\nsuch")
    except ValueError:
        logging.getLogger("tried").exception("it failed")

    (line,) = lines(written)
    assert "ValueError: no\nsuch" in str(line["exception"])


def test_text_has_the_same_ids_at_its_end() -> None:
    record = logging.LogRecord("tried", logging.INFO, __file__, 1, "begun", (), None)

    with log_ids(job="job_1"):
        text = TextFormatter().format(record)

    assert text.endswith("INFO tried: begun job=job_1")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_configuration_is_one_that_logging_takes(log_format: str) -> None:
    logging.config.DictConfigurator(logging_config(log_format))


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="text, json"):
        logging_config("xml")


@pytest.mark.parametrize("formatter", [JsonFormatter, TextFormatter])
def test_where_files_lie_is_not_written(formatter: type[logging.Formatter], tmp_path: Path) -> None:
    store, elsewhere = str(tmp_path / "data/store"), "/srv/models/private/model.safetensors"
    line = formatter(folders={store: "store", str(tmp_path / "data"): "data"})  # type: ignore[call-arg]
    try:
        raise OSError(28, "No space left on device", f"{store}/results/job_1/summary.json")
    except OSError:
        record = logging.LogRecord(
            "polyseme.workers",
            logging.ERROR,
            __file__,
            1,
            "%s and %s",
            (f"{store}/x", elsewhere),
            sys.exc_info(),
        )

    text = line.format(record)

    assert str(tmp_path) not in text
    assert "/srv/models" not in text
    assert "store/x and …/model.safetensors" in text
    assert "'store/results/job_1/summary.json'" in text
    assert __file__ in text  # where the code is


def test_the_address_of_a_request_is_written() -> None:
    record = logging.LogRecord(
        "polyseme.service", logging.ERROR, __file__, 1, "GET /v1/a", (), None
    )

    assert "GET /v1/a" in TextFormatter().format(record)
