from __future__ import annotations

from marshmallow import Schema

from polyseme.contract.files import columns
from polyseme.service.schemas.neurons import (
    ContextSchema,
    NeuronRowSchema,
    SenseSchema,
    SenseTokenSchema,
    StatsSchema,
)


def nullable(schema: type[Schema]) -> set[str]:
    return {name for name, field in schema().fields.items() if field.allow_none}


def test_a_row_admits_null_but_where_the_neuron_is() -> None:
    assert set(NeuronRowSchema().fields) == set(columns.LISTED)
    assert set(columns.LISTED) - nullable(NeuronRowSchema) == {
        "layer",
        "neuron",
        "hook",
        "n_tokens",
    }


def test_a_report_admits_null_where_a_column_does_or_a_number_may_not_be_finite() -> None:
    assert nullable(SenseSchema) == {"between", "medoid", "auprc", "auprc_baseline"}
    assert nullable(StatsSchema) == {
        "mean",
        "std",
        "min",
        "max",
        "skewness",
        "kurtosis",
        "density",
    }
    assert nullable(ContextSchema) == {"band", "activation", "sense", "peak_span"}
    assert ContextSchema().fields["activations"].inner.allow_none


def test_texts_of_few_values_name_them() -> None:
    schema = SenseTokenSchema()

    assert schema.validate(
        {"token": "a", "token_id": 1, "text": "a", "at": "far", "count": 1, "z": 0.5}
    ) == {"at": ["Must be one of: peak, near."]}
    assert NeuronRowSchema().validate({"status": None, "negative_status": "odd"}).keys() == {
        "negative_status"
    }
