"""Settings from an environment and back."""

from __future__ import annotations

import pytest

from polyseme.contract.settings import Settings


def test_settings_come_back_from_the_variables_they_make() -> None:
    settings = Settings(redis_url="unix:///a", lease_s=2.5, max_top_k=7)

    assert Settings.from_environ(settings.to_environ()) == settings
    assert Settings.from_environ({}) == Settings()
    assert Settings.from_environ({"REDIS_URL": "redis://h"}).redis_url == "redis://h"


def test_a_wrong_value_is_named() -> None:
    with pytest.raises(ValueError, match="POLYSEME_MAX_TOP_K='x': expected int"):
        Settings.from_environ({"POLYSEME_MAX_TOP_K": "x"})
    with pytest.raises(ValueError, match="'Big' must match"):
        Settings.from_environ({"POLYSEME_QUEUES": "default,Big"})
