"""The API: health, the smoke ping and the error answers; orders have a file of their own."""

import logging

import psycopg2
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from psycopg2 import errors

from src.api import health, orders
from src.db import transaction
from src.version import VERSION

log = logging.getLogger("uvicorn.error")

app = FastAPI(title="FoxProFlow sample stand", version=VERSION)
app.include_router(health.router)
app.include_router(orders.router)


@app.exception_handler(psycopg2.Error)
def database_error(_request, error):
    """A missing table is a dependency not met (424), an unreachable database is 503, the rest is our fault."""
    if isinstance(error, errors.UndefinedTable):
        status = 424
    elif isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
        status = 503
    else:
        status = 500
    # The first line only: what follows quotes the statement and may quote row values.
    log.error("database: SQLSTATE %s %s", error.pgcode, str(error).split("\n", 1)[0])
    return JSONResponse({"ok": False, "error": type(error).__name__, "sqlstate": error.pgcode}, status)


@app.get("/api/crm/smoke/ping")
def ping():
    """Not only "the process lives": the answer needs a round trip to the database."""
    with transaction() as cursor:
        cursor.execute("SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'crm'")
        (has_crm,) = cursor.fetchone()
    return {"ok": True, "version": VERSION, "crm_schema": bool(has_crm)}
