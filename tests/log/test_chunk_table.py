"""The index of a log that is still being written: exact, and small enough for an operation of hours."""

from safety.log.container import ChunkEntry, ChunkTable

HOUR = 6 * 3600  # chunks of an hour: three checkpoints a second, each with the data before it


def entry(n: int) -> ChunkEntry:
    at, plain = 1_790_000_000_000_000_000 + n * 166_000_000, n % 2
    table = {7: 1000 + n * 9000} if plain else {c: 1000 + n * 9000 + c * 800 for c in range(1, 7)}
    return ChunkEntry(at, at + 100_000_000, n * 9000, 8000, table, 400, "" if plain else "zstd", 7800, 30_000)


def test_the_table_gives_back_what_was_put_in():
    table, expected = ChunkTable(), []
    for n in range(3000):
        table.append(entry(n))
        expected.append(entry(n).content())
    assert len(table) == 3000
    assert list(table.contents()) == expected
    assert list(table.contents()) == expected, "and once more"


def test_an_hour_of_chunks_takes_less_than_a_megabyte_and_a_half():
    table = ChunkTable()
    for n in range(HOUR):
        table.append(entry(n))
    assert sum(map(len, table._blocks)) + len(table._open) < 1_500_000
