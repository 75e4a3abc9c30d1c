from __future__ import annotations

import argparse

from benchmarks import shapes
from tests.workers.analysis.builders import needs_compiler


@needs_compiler
def test_a_model_of_random_weights_is_run_every_way() -> None:
    parser = argparse.ArgumentParser()
    shapes.add_options(parser)
    wanted = [
        "--shapes",
        "tiny",
        "--blocks",
        "2",
        "--block-tokens",
        "256",
        "--device",
        "cpu",
        "--dtype",
        "float32",
    ]

    report = shapes.run(parser.parse_args(wanted))

    rows = [line for line in report.splitlines() if line.startswith("| ")][2:]
    ways = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    assert ways == [
        "the body",
        "`model(**inputs)`",
        "the scan",
        "the compiled body",
        "the compiled scan, without senses",
        "the compiled scan",
    ]
    assert "4 layers of 192 neurons" in report
    assert rows[0].split(" | ")[2].startswith("1.000 (1.000")
