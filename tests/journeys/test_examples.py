"""The examples of the documents, run in their order against the real service, with a small model in
place of theirs.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from polyseme import Polyseme
from polyseme.commands.main import app
from polyseme.commands.models import write_entry
from tests.factories import make_texts
from tests.journeys.site import Api, Site, await_that, running_site
from tests.nursery import Nursery
from tests.test_docs import ROOT, SERVICE, read
from tests.tiny_models import HIDDEN, NEURONS, save_model
from tests.workers.analysis.dictionaries.builders import mirror_autoencoder, write_mirror

MODEL = "smollm2-135m-instruct"  # as the documents name it; here it has 12 layers of 48 neurons
LAYERS = 12
PAGES = {  # and how many examples they have at least
    "README.md": 4,
    "docs/tutorial.md": 8,
    "docs/install.md": 1,
    "docs/own-model.md": 2,
    "docs/own-texts.md": 8,
    "docs/dictionaries.md": 4,
    "docs/sites.md": 1,
    "docs/notebook.md": 5,
    "docs/client.md": 10,
    "docs/cli.md": 22,
    "docs/api.md": 15,
}
LONG = "A model to try this with"  # a part of the tutorial that takes long
# Done once by hand: they install, or stay until they are stopped.
NOT_RUN = re.compile(r"(make|pip|\.) |python -m http\.server |(\w+=\S+ )?polyseme up\b")


@pytest.fixture(scope="module")
def site(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(nursery, tmp_path_factory.mktemp("examples") / "data") as found:
        example = save_model(
            "llama", found.data / "example", num_hidden_layers=LAYERS, max_position_embeddings=128
        )
        write_entry(Path(found.settings.catalogue), MODEL, ("path", example.location), None, None)
        yield found


@pytest.fixture(scope="module")
def api(site: Site) -> Iterator[Api]:
    with site.api() as found:
        yield found


@dataclass
class Reader:
    """Who does what a page says, in a folder of their own, with a key of a tenant of their own."""

    site: Site
    url: str
    folder: Path
    job: str | None = None  # the first that they posted
    names: dict[str, Any] = field(default_factory=dict)  # of their Python
    answers: list[Any] = field(default_factory=list)  # to each curl

    def follow(self, page: str, text: str) -> int:
        """Runs the examples in a page's text. How many there were."""
        done = 0
        for language, block in re.findall(r"(?ms)^```(sh|python|html)\n(.*?)^```", text):
            if language == "python":
                exec(compile(block, page, "exec"), self.names)
                done += 1
                continue
            if language == "html":
                self.fetch(block)
                continue
            for line in block.replace("\\\n", " ").splitlines():
                if line and not line.startswith("#") and not NOT_RUN.match(line):
                    self.run(line.removeprefix(".venv/bin/"))
                    done += 1
        return done

    def run(self, line: str) -> None:
        words = shlex.split(line.partition(" | ")[0], comments=True)
        if words[0] == "curl":
            self.curl(line)
        else:
            assert words[0] == "polyseme", line
            self.polyseme(line, words[1:])

    def polyseme(self, line: str, arguments: list[str]) -> None:
        if arguments[0] == "neuron" and int(arguments[3]) >= 48:
            arguments[3] = "7"
        done = CliRunner().invoke(app, [self._translate(a) for a in arguments])
        assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception!r}\n{self.site.logs()}"
        registry = self.site.board.registry
        if arguments[:2] == ["models", "add"]:
            restart_workers(self.site, lambda: registry.get_card(arguments[2]) is not None)
        if arguments[:2] == ["dictionaries", "add"]:
            restart_workers(self.site, lambda: registry.get_dictionary(arguments[2]) is not None)
        self._note_job(done.output)

    def fetch(self, page: str) -> None:
        """What a web page loads from the service."""
        addresses = re.findall(r'"(http[^"]+)"', self._translate(page))
        assert len(addresses) == 2
        for address in addresses:
            answer = httpx.get(
                address, headers={"Authorization": f"Bearer {os.environ['POLYSEME_API_KEY']}"}
            )
            assert answer.is_success, f"{address}\n{answer.text}"

    def curl(self, line: str) -> None:
        if "Authorization" in line:  # then without that of the .curlrc
            line = line.replace(
                "curl ", "curl --disable --silent --show-error --fail-with-body ", 1
            )
        while True:
            done = subprocess.run(
                ["bash", "-c", self._translate(line)], capture_output=True, text=True, timeout=360
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}\n{self.site.logs()}"
            if (
                "wait=30" not in line or '"phase":"ended"' in done.stdout
            ):  # they are told to ask until it has
                break
        _, _, body = done.stdout.rpartition("\r\n\r\n")
        self.answers.append(
            json.loads(body) if body.startswith("{") and "\n" not in body.strip() else None
        )
        self._note_job(done.stdout)

    def _note_job(self, output: str) -> None:
        if self.job is None and (found := re.search(r"\bjob_[0-9a-f]{28}\b", output)):
            self.job = found[0]

    def _find_other(self) -> str:
        """A job beside the first, over the same text, once it has ended."""
        with Polyseme(self.url) as polyseme:
            corpus = polyseme.job(self.job or "").request["corpus"]["id"]
            others = [job.id for job in polyseme.jobs(corpus=corpus) if job.id != self.job]
            return polyseme.wait(others[-1], timeout_s=300).id

    def _translate(self, text: str) -> str:
        """With what is here in place of what the documents name: the address, the jobs, layers and
        neurons.
        """
        text = re.sub(
            r"\bJOB\b|\bjob_[0-9a-f]{28}\b", self.job or "JOB", text.replace(SERVICE, self.url)
        )
        text = re.sub(r"\bOTHER\b", lambda _: self._find_other(), text)
        text = re.sub(
            r"/neurons/(\d+)/\d+",
            lambda found: f"/neurons/{min(int(found[1]), LAYERS - 1)}/7",
            text,
        )
        return re.sub(r'"neuron": \d+', '"neuron": 7', text)


@pytest.fixture
def reader(
    site: Site,
    api: Api,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Reader]:
    catalogue = Path(site.settings.catalogue)
    before = catalogue.read_text()
    if not [pid for pid in site.started if site.nursery.poll(pid) is None]:
        site.start_worker()
    await_that(lambda: site.board.registry.get_card(MODEL) is not None, 120, site.logs)
    key = site.board.accounts.create_key(
        re.sub(r"\W", "-", request.node.name.lower())[:60], ("read", "submit"), ""
    )[1]
    environ = {
        "URL": api.url,
        "API_KEY": key,
        "CATALOGUE": str(catalogue),
        "REDIS_URL": site.server.url,
    }
    for name, value in environ.items():
        monkeypatch.setenv(f"POLYSEME_{name}", value)
    monkeypatch.setenv("CURL_HOME", str(tmp_path))
    (tmp_path / ".curlrc").write_text(
        f'header = "Authorization: Bearer {key}"\nsilent\nshow-error\nfail-with-body\n'
    )
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, site)
    with Polyseme(api.url, api_key=key) as polyseme:
        polyseme.add_texts(make_texts(40), name="sample")
    yield Reader(site, api.url, tmp_path)
    catalogue.write_text(before)


def write_files(folder: Path, site: Site) -> None:
    """What the documents say that a reader has."""
    texts = make_texts(40, seed=7)
    (folder / "texts.txt").write_text("\n".join(texts))
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "texts.jsonl").write_text(lines)
    (folder / "texts.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    said = [{"text": text, "lang": "de"} for text in make_texts(2, seed=9)]
    (folder / "mixed.jsonl").write_text("".join(json.dumps(line) + "\n" for line in said))
    (folder / "one.txt").write_text(" ".join(make_texts(3, seed=8)))
    request = {"model": MODEL, "corpus": {"id": "sample"}}
    (folder / "jobs.jsonl").write_text(
        "".join(json.dumps(request | {"neurons": {"layers": n}}) + "\n" for n in "01")
    )
    shutil.copytree(site.data / "example", folder / "my-model")
    write_mirror(folder / "my-dictionary", "blocks.3.mlp.hook_post", NEURONS)
    place = {"model": MODEL, "site": "resid_post", "layer": "3"}
    save_file({"vectors": torch.eye(HIDDEN)[:2] * 3}, folder / "probes.safetensors", place)
    torch.save(mirror_autoencoder(HIDDEN), folder / "ae.pt")
    (folder / "docs").symlink_to(ROOT / "docs")


def restart_workers(site: Site, until: Callable[[], bool]) -> None:
    """until: they have read what is new in the catalogue."""
    for pid in site.started:
        if site.nursery.poll(pid) is None:
            os.kill(pid, signal.SIGKILL)
            await_that(lambda pid=pid: site.nursery.poll(pid) is not None, 10)  # type: ignore[misc]
    site.start_worker()
    await_that(until, 120, site.logs)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page: str, reader: Reader) -> None:
    pytest.importorskip("pandas")
    text, _, _ = read(page).partition(f"\n## {LONG}\n")

    assert reader.follow(page, text) >= PAGES[page]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_answers_in_the_readme_are_of_the_services_shape(reader: Reader) -> None:
    reader.follow("README.md", read("README.md"))

    shown = [
        json.loads(block) for block in re.findall(r"(?ms)^```json\n(.*?)^```", read("README.md"))
    ]
    assert len(shown) == len(reader.answers) == 4
    for example, answer in zip(shown, reader.answers, strict=True):
        assert strangers(example, answer) == []


def strangers(example: Any, answer: Any, place: str = "") -> list[str]:
    """What the example has and the answer has not. Of a list the first entries are compared."""
    if isinstance(example, dict) and isinstance(answer, dict):
        known = [(k, v) for k, v in example.items() if k in answer]
        missing = [f"{place}/{k}" for k in example if k not in answer]
        return missing + [s for k, v in known for s in strangers(v, answer[k], f"{place}/{k}")]
    if isinstance(example, list) and isinstance(answer, list):
        return strangers(example[0], answer[0], f"{place}/0") if example and answer else []
    alike = type(example) is type(answer) or None in (example, answer)
    return (
        [] if alike or {type(example), type(answer)} == {int, float} else [f"{place}: {answer!r}"]
    )
