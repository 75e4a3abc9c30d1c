"""The structure of the sources: who imports whom, and how large modules and folders are.

`python -m tests.structure` prints it. Imports in function bodies and under TYPE_CHECKING count too,
which import-linter's layers are blind to or may be told to pass over.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOPS = ("contract", "service", "workers", "polyseme")
ANALYSIS = "polyseme.workers.analysis"

Graph = dict[str, set[str]]  # module -> the modules of ours that it imports


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its name."""
    found = {}
    for top in TOPS:
        for path in sorted((ROOT / top).rglob("*.py")):
            inside = path.relative_to(ROOT)
            # What lies behind the links of `polyseme` is found under its own folder.
            if top == "polyseme" and inside.parts[1] in TOPS:
                continue
            parts = [*(() if top == "polyseme" else ("polyseme",)), *inside.with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def import_graph() -> Graph:
    known = modules()
    return {name: set(_imports(name, path, known)) - {name} for name, path in known.items()}


def _imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                target = whole if whole in known else node.module or ""
                if target in known:
                    yield target


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return found


@cache
def _packages() -> set[str]:
    return {name for name, path in modules().items() if path.name == "__init__.py"}


def arrows(house: str) -> Counter[tuple[str, str]]:
    """From room to room of a house: how many imports there are."""
    packages = _packages()

    def room(module: str) -> str | None:
        inside = module.removeprefix(f"{house}.")
        if inside == module or (f"{house}.{inside.split('.')[0]}" not in packages):
            return None
        return inside.split(".")[0]

    found: Counter[tuple[str, str]] = Counter()
    for module, others in import_graph().items():
        for other in others:
            one, two = room(module), room(other)
            if one and two and one != two:
                found[one, two] += 1
    return found


def folders() -> dict[str, int]:
    """How many Python files each folder has, `__init__` aside."""
    counts: Counter[str] = Counter()
    for path in modules().values():
        if path.name != "__init__.py":
            counts[str(path.parent.relative_to(ROOT))] += 1
    return dict(counts)


def lengths() -> dict[str, int]:
    """Lines of every module."""
    return {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules().values()
    }


def holding(text: str, paths: Iterable[Path]) -> list[str]:
    return [str(p.relative_to(ROOT)) for p in paths if text in p.read_text(encoding="utf-8")]


def main() -> None:
    graph = import_graph()
    print(f"modules {len(graph)}, imports {sum(map(len, graph.values()))}")
    print(f"circles {len(circles(graph))}", *circles(graph), sep="\n  ")
    found = arrows(ANALYSIS)
    print(f"arrows between the rooms of {ANALYSIS}: {len(found)}")
    for (one, two), count in sorted(found.items()):
        print(f"  {one} -> {two} ({count})")
    print("circles of rooms", circles(as_graph(found)))
    print("largest folders", sorted(folders().items(), key=lambda f: -f[1])[:6])
    print("longest modules", sorted(lengths().items(), key=lambda f: -f[1])[:20])
    print("redis.call in", holding("redis.call", modules().values()))


def as_graph(pairs: Iterable[tuple[str, str]]) -> Graph:
    graph: Graph = {}
    for one, two in pairs:
        graph.setdefault(one, set()).add(two)
    return graph


if __name__ == "__main__":
    main()
