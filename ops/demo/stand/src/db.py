"""PostgreSQL access: one connection a thread, opened on first use and opened again when the server ended it.

A release closes the database for a moment and ends every session, so a connection is asked whether it still
lives before it is used. Work that had begun is never repeated: whether its commit arrived cannot be known.
"""

import threading
from contextlib import contextmanager

import psycopg2

from src.settings import CONNECT_TIMEOUT_S, POSTGRES, STATEMENT_TIMEOUT_MS

_thread = threading.local()


def _alive(connection):
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True
    except psycopg2.Error:
        return False


def _connection():
    connection = getattr(_thread, "connection", None)
    if connection is None or not _alive(connection):
        connection = _thread.connection = psycopg2.connect(
            connect_timeout=CONNECT_TIMEOUT_S,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
            **POSTGRES,
        )
    return connection


@contextmanager
def transaction():
    """A cursor in a transaction of its own: committed at the end, rolled back on an exception."""
    connection = _connection()
    with connection, connection.cursor() as cursor:
        yield cursor
