"""The document service's data: amounts, shape, and that it is the same every time."""

from __future__ import annotations

from runbook.sandbox.data import DIMENSION, Filled, fill
from runbook.sandbox.stack import Stack

# What the rows add up to, on any machine: numbers, texts, and bytes whose rendering doesn't depend on floating point.
SUMS = """
    SELECT sum(length(body)), sum(owner_id), sum(size_bytes), md5(string_agg(title || encode(sha256, 'hex'), '' ORDER BY id))
    FROM documents JOIN document_metadata ON document_id = id"""


def test_the_full_amount_is_filled_and_twice_is_once(stack: Stack) -> None:
    stack.up(lambda line: None)
    filled = fill(stack.login())
    assert filled == Filled(users=5_000, documents=20_000, metadata=20_000, embeddings=20_000)
    assert fill(stack.login()) == filled


def test_every_document_has_an_owner_metadata_and_an_embedding(shared: Stack) -> None:
    with shared.login().connect() as connection:
        row = connection.execute(
            "SELECT count(*), count(DISTINCT owner_id), min(vector_dims(embedding)), max(vector_dims(embedding)) "
            "FROM documents JOIN users u ON u.id = owner_id JOIN document_metadata m ON m.document_id = documents.id "
            "JOIN document_embeddings e ON e.document_id = documents.id"
        ).fetchone()
    assert row == (500, 50, DIMENSION, DIMENSION)


def test_the_nearest_embedding_is_its_own(shared: Stack) -> None:
    with shared.login().connect() as connection:
        row = connection.execute(
            "SELECT document_id FROM document_embeddings ORDER BY embedding <-> "
            "(SELECT embedding FROM document_embeddings WHERE document_id = 77) LIMIT 1"
        ).fetchone()
    assert row == (77,)


def test_a_new_row_takes_the_next_number(shared: Stack) -> None:
    with shared.login().connect() as connection:
        row = connection.execute(
            "INSERT INTO users (email, name, created_at) VALUES ('new@example.org', 'New', now()) RETURNING id"
        ).fetchone()
        connection.rollback()
    assert row is not None
    assert row[0] > 50


def test_the_rows_are_the_same_every_time(shared: Stack, stack: Stack) -> None:
    stack.up(lambda line: None)
    fill(stack.login(), documents=500, users=50)
    sums = []
    for one in (shared, stack):
        with one.login().connect() as connection:
            sums.append(connection.execute(SUMS).fetchone())
    assert sums[0] == sums[1]
