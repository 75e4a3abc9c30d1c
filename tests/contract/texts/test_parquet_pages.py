from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyseme.contract.errors import TooLarge
from polyseme.contract.texts.formats import Notes, Reading
from polyseme.contract.texts.parquet_pages import Damaged, read_page_sizes
from polyseme.contract.texts.read import read_texts

TEXTS = [f"{i} {'word ' * 200}" for i in range(3000)]


def write(**options: object) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(pa.table({"n": range(len(TEXTS)), "text": TEXTS}), file, **options)
    return file


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("compression", ["none", "zstd", "snappy"])
def test_the_pages_of_a_column_are_all_of_its_bytes(
    version: str, dictionary: bool, compression: str
) -> None:
    file = write(
        data_page_version=version,
        use_dictionary=dictionary,
        compression=compression,
        data_page_size=50_000,
        write_batch_size=50,
        row_group_size=1000,
    )
    metadata = pq.ParquetFile(file).metadata
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(1)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        sizes = list(read_page_sizes(file, start, start + chunk.total_compressed_size))

        # What is missing are the headers, with the smallest and largest text.
        assert 0 < chunk.total_uncompressed_size - sum(sizes) < 5000 * len(sizes)
        assert len(sizes) > 1 or dictionary


def test_a_page_that_takes_too_much_memory_is_refused_before_it_is_unpacked() -> None:
    file = io.BytesIO()
    table = pa.table({"text": ["x" * (8 << 20)] * 40})
    pq.write_table(table, file, use_dictionary=False, compression="zstd", data_page_size=1 << 30)
    body = file.getvalue()
    del table
    before = pa.total_allocated_bytes()

    assert len(body) < 1 << 20
    with pytest.raises(TooLarge, match="a page of"):
        list(read_texts([body], Reading(), Notes()))
    assert pa.total_allocated_bytes() - before < 1 << 20


@pytest.mark.parametrize("body", [b"", b"\x15", b"\x00", b"\x1b" * 40, b"\x15" + b"\xff" * 40])
def test_what_is_no_header_is_damage(body: bytes) -> None:
    with pytest.raises(Damaged):
        list(read_page_sizes(io.BytesIO(body), 0, 100))
