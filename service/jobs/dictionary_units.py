"""Jobs over sparse dictionaries: their latents become a site of the model's card.

What is wrong with a choice of dictionaries is said here, each with its pointer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from polyseme.contract.errors import Detail, InvalidRequest, Unavailable, UnknownSite
from polyseme.contract.paths import hide_paths
from polyseme.contract.plurals import counted
from polyseme.contract.records.catalogue import DictionaryEntry, load_dictionaries
from polyseme.contract.records.dictionary_card import DictionaryCard
from polyseme.contract.records.model_card import ModelCard, SiteCard
from polyseme.contract.records.selection import format_ranges
from polyseme.contract.settings import Settings
from polyseme.service.context import Services

SITE: Final = "dictionary"
_POINTER: Final = "/neurons/dictionary"
# What follows from a dictionary, or is of other units.
_NOT_BESIDE: Final = ("layers", "hook", "vectors")
_NAMED: Final = 20  # ids, in a sentence


def find_dictionaries(
    services: Services, body: Mapping[str, Any], card: ModelCard
) -> tuple[DictionaryCard, ...]:
    """Those that a request names, by layer; none where it names none.

    body: what `AnalysisSchema` loaded; card: of its model. Raises InvalidRequest with all that is
    wrong with them; Unavailable for one that no worker has read yet.
    """
    neurons = body.get("neurons", {})
    names: list[str] | None = neurons.get("dictionary")
    _check_beside(neurons, names)
    if names is None:
        return ()
    known = [services.board.registry.get_dictionary(name) for name in names]
    _check_known(services, names, known, card)
    found = tuple(sorted((d for d in known if d is not None), key=lambda d: d.layer))
    wrong = [
        *(detail for d in found for detail in _check_against_model(d, card, _at(names, d))),
        *_check_together(found),
    ]
    if wrong:
        raise InvalidRequest("; ".join(d.detail for d in wrong), details=tuple(wrong))
    return found


def use_dictionaries(
    body: Mapping[str, Any], card: ModelCard, found: Sequence[DictionaryCard]
) -> tuple[dict[str, Any], ModelCard]:
    """The body with site and layers, and the card with the latents as a site.

    found: by layer, as `find_dictionaries` gives them; none leaves both as they are.
    """
    if not found:
        return dict(body), card
    neurons = body["neurons"] | {
        "site": SITE,
        "dictionary": [d.id for d in found],
        "layers": format_ranges([d.layer for d in found]),
    }
    hook = card.site(found[0].site).hook
    latents = SiteCard(SITE, found[0].latents, hook, signed=False)
    return {**body, "neurons": neurons}, card.with_site(latents)


def listed_dictionaries(settings: Settings) -> dict[str, DictionaryEntry]:
    """The catalogue's, by id.

    Raises Unavailable when the file cannot be read, which is the operator's to mend.
    """
    try:
        return load_dictionaries(settings.catalogue)
    except (OSError, ValueError) as e:
        raise Unavailable(f"the catalogue cannot be read: {e}", retry_after_s=60) from e


def _check_beside(neurons: Mapping[str, Any], names: Sequence[str] | None) -> None:
    """Raises InvalidRequest for what is sent beside a dictionary, or without one."""
    site = neurons.get("site", SITE)
    if names is None:
        if neurons.get("site") == SITE:
            raise InvalidRequest(
                f"site {SITE}: send `dictionary`, an id of GET /v1/dictionaries", pointer=_POINTER
            )
        return
    beside = [name for name in _NOT_BESIDE if neurons.get(name) is not None]
    if site != SITE:
        beside.insert(0, "site")
    if beside:
        details = tuple(
            Detail(
                f"/neurons/{name}",
                f"{name} and dictionary: a dictionary says where its latents are; leave {name} out",
            )
            for name in beside
        )
        raise InvalidRequest("; ".join(d.detail for d in details), details=details)


def _check_known(
    services: Services,
    names: Sequence[str],
    known: Sequence[DictionaryCard | None],
    card: ModelCard,
) -> None:
    """known: those of the names that workers have read. Raises InvalidRequest, Unavailable."""
    missing = [name for name, found in zip(names, known, strict=True) if found is None]
    if not missing:
        return
    listed = listed_dictionaries(services.settings)
    unread = [name for name in missing if name in listed]
    if len(unread) == len(missing):
        raise Unavailable(
            f"no worker has read the dictionary {unread[0]} yet: try again", retry_after_s=5
        )
    own = sorted(
        {d.id for d in services.board.registry.list_dictionaries(card.id)}
        | {entry.id for entry in listed.values() if entry.model == card.id}
    )
    has = f"{card.id} has {_name(own)}"
    details = tuple(
        Detail(_at(names, name), f"dictionary {name!r}: {has}")
        for name in missing
        if name not in listed
    )
    raise InvalidRequest("; ".join(d.detail for d in details), details=details)


def _check_against_model(found: DictionaryCard, card: ModelCard, pointer: str) -> Iterator[Detail]:
    """Stops at the first thing that is wrong: what follows would follow from it."""
    if found.model != card.id:
        yield Detail(pointer, f"dictionary {found.id} is of {found.model}, not of {card.id}")
    elif found.error is not None:
        yield Detail(pointer, f"dictionary {found.id} cannot be used: {hide_paths(found.error)}")
    elif found.layer >= card.layers:
        yield Detail(
            pointer,
            f"dictionary {found.id} is of layer {found.layer}; {card.id} has layers 0 to "
            f"{card.layers - 1}",
        )
    else:
        yield from _check_place(found, card, pointer)


def _check_place(found: DictionaryCard, card: ModelCard, pointer: str) -> Iterator[Detail]:
    try:
        units = card.site(found.site).units
    except UnknownSite as e:
        yield Detail(pointer, f"dictionary {found.id} reads {found.hook}: {e.message}")
        return
    if found.width != units:
        yield Detail(
            pointer,
            f"dictionary {found.id} reads {found.width} numbers at {found.hook}; there are {units} "
            f"in {card.id}",
        )


def _check_together(found: Sequence[DictionaryCard]) -> Iterator[Detail]:
    """Of several dictionaries that can be read."""
    usable = [d for d in found if d.error is None]
    layers = Counter(d.layer for d in usable)
    if twice := [layer for layer, count in layers.items() if count > 1]:
        same = " and ".join(d.id for d in usable if d.layer == twice[0])
        yield Detail(
            _POINTER, f"{same} are of layer {twice[0]}: one dictionary a layer; send several jobs"
        )
    for what, values in (
        ("read", {d.id: d.site for d in usable}),
        ("have", {d.id: counted(d.latents, "latent") for d in usable}),
    ):
        if len(set(values.values())) > 1:
            said = ", ".join(f"{name} {value}" for name, value in values.items())
            need = "one site" if what == "read" else "the same number of latents"
            yield Detail(_POINTER, f"dictionaries of one job {what} {need}: {said}")


def _at(names: Sequence[str], which: str | DictionaryCard) -> str:
    """The pointer of one of several; of all where there is one."""
    name = which if isinstance(which, str) else which.id
    return _POINTER if len(names) == 1 else f"{_POINTER}/{names.index(name)}"


def _name(names: Sequence[str]) -> str:
    if not names:
        return "no dictionaries"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
