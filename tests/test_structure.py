"""What `python -m tests.structure` prints stays as it should be."""

from __future__ import annotations

from collections import defaultdict

from tests import structure

LARGEST_FOLDER = 16
LONGEST_MODULE = 400
MOST_ARROWS = 46
# Halves of one thing: what a route answers, and the shape of it.
HALVES = {"routes", "schemas"}


def test_no_modules_import_each_other() -> None:
    assert structure.circles(structure.import_graph()) == []


def test_the_rooms_of_the_analysis_form_layers() -> None:
    arrows = structure.arrows(structure.ANALYSIS)

    assert structure.circles(structure.as_graph(arrows)) == []
    assert len(arrows) <= MOST_ARROWS


def test_no_folder_has_too_many_doors() -> None:
    crowded = {f: n for f, n in structure.folders().items() if n > LARGEST_FOLDER}

    assert crowded == {}


def test_no_module_is_too_long() -> None:
    long = [f for f, n in structure.lengths().items() if n > LONGEST_MODULE]

    assert long == []


def test_scripts_stand_in_no_python_file() -> None:
    assert structure.holding("redis.call", structure.modules().values()) == []


def test_a_name_is_one_module_of_a_package() -> None:
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in structure.modules().values():
        package, *folders, name = path.relative_to(structure.ROOT).parts
        if not name.startswith("__"):
            places[package, name].append("/".join(folders))

    shared = {key: found for key, found in places.items() if not set(found) <= HALVES}
    assert {key: found for key, found in shared.items() if len(found) > 1} == {}


def test_every_room_says_what_it_is() -> None:
    silent = [
        str(path)
        for path in structure.modules().values()
        if path.name == "__init__.py" and '"""' not in path.read_text(encoding="utf-8")[:3]
    ]

    assert silent == []
