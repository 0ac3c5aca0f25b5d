"""Where the data services are, from the environment that compose fills from .env.docker."""

import os

# Short, because a service that does not answer has to show as a failure before the caller gives up.
CONNECT_TIMEOUT_S = 2
STATEMENT_TIMEOUT_MS = 3000

POSTGRES = {
    "host": os.environ["POSTGRES_HOST"],
    "dbname": os.environ["POSTGRES_DB"],
    "user": os.environ["POSTGRES_USER"],
    "password": os.environ["POSTGRES_PASSWORD"],
}
REDIS_HOST = os.environ["REDIS_HOST"]
REDIS_PASSWORD = os.environ["REDIS_PASSWORD"]

# Empty: the orders endpoints are open.
ARCHITECT_KEY = os.environ.get("FF_ARCHITECT_KEY", "")


def redis_url(database):
    """The URL of one Redis database, as Celery wants it."""
    return f"redis://:{REDIS_PASSWORD}@{REDIS_HOST}:6379/{database}"
