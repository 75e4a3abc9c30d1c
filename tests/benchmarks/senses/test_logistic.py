from __future__ import annotations

import numpy as np
import pytest

from benchmarks.senses.logistic import calibration_error, fit_logistic, logistic


def test_the_fit_gives_back_the_coefficients_that_outcomes_were_drawn_with() -> None:
    rng, wanted = np.random.default_rng(0), np.array([-0.5, 1.2, -0.8])
    columns = np.concatenate([np.ones((40_000, 1)), rng.normal(size=(40_000, 2))], 1)
    outcome = rng.random(40_000) < logistic(columns @ wanted)

    assert fit_logistic(columns, outcome) == pytest.approx(wanted, abs=0.05)


def test_a_column_that_does_not_vary_gets_no_coefficient() -> None:
    columns = np.stack([np.ones(10), np.zeros(10)], 1)

    assert fit_logistic(columns, np.arange(10) < 5) == pytest.approx([0, 0])


def test_chances_are_calibrated_when_as_many_come_true() -> None:
    chance = np.repeat([0.0, 1.0], [5, 10])

    assert calibration_error(chance, chance > 0.5) == 0
    assert calibration_error(chance, chance < 0.5) == 1
    assert np.isnan(calibration_error(chance[:0], chance[:0] > 0))
