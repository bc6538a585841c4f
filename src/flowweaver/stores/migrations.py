"""Brings a state file to the layout that this version knows: each step is one transaction, together with its number.

A process that is killed in between leaves an empty file or one that is some steps behind; both are opened again.
"""

from __future__ import annotations

import uuid

import apsw

from flowweaver.errors import StoreError, StoreTooNew
from flowweaver.stores.statements import migrations, statements

APPLICATION_ID = 0x464C5756
"""Marks the file as ours: `file state.db` shows it."""


def bring_up_to_date(connection: apsw.Connection, path: str) -> None:
    """Migrate; raises `StoreTooNew` where a newer version wrote the file, `StoreError` where it is not ours."""
    version = connection.pragma("user_version")
    newest = migrations()[-1].version
    if version > newest:
        raise StoreTooNew(
            f"{path} was written by a newer FlowWeaver (layout {version}, this one knows {newest}): upgrade "
            f"FlowWeaver, or restore a backup that was taken before"
        )
    if connection.pragma("application_id") != APPLICATION_ID and _has_tables(connection):
        raise StoreError(f"{path} is an SQLite file of another program: name another file")
    for step in migrations()[version:]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(step.sql)
            if step.version == 1:
                connection.execute(statements()["insert_meta"], (str(uuid.uuid4()),))
                connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", step.version)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _has_tables(connection: apsw.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()[0][0])
