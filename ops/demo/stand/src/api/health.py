"""Health: /health says that the process answers, /health/extended that what it needs answers as well."""

from time import monotonic

import redis
from fastapi import APIRouter

from src.db import transaction
from src.settings import CONNECT_TIMEOUT_S, REDIS_HOST, REDIS_PASSWORD

router = APIRouter()

_redis = redis.Redis(
    host=REDIS_HOST,
    password=REDIS_PASSWORD,
    socket_connect_timeout=CONNECT_TIMEOUT_S,
    socket_timeout=CONNECT_TIMEOUT_S,
)


def _ask(question):
    """Asks one service and turns every failure into an answer, because this endpoint never fails itself."""
    started = monotonic()
    try:
        question()
        answer = {"ok": True}
    # Whatever the reason, it means "not ready". Only its kind is told: the text of an error can carry secrets.
    except Exception as error:
        answer = {"ok": False, "error": type(error).__name__}
    answer["ms"] = round((monotonic() - started) * 1000, 1)
    return answer


def _ask_postgres():
    with transaction() as cursor:
        cursor.execute("SELECT 1")


@router.get("/health")
def health():
    return {"status": "ok"}


@router.get("/health/extended")
def health_extended():
    postgres = _ask(_ask_postgres)
    cache = _ask(_redis.ping)
    ready = postgres["ok"] and cache["ok"]
    return {"status": "ok" if ready else "degraded", "ready": ready, "postgres": postgres, "redis": cache}
