"""The Celery application: Redis is its broker and keeps its results, the queue is the default one."""

from threading import Thread

from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_shutting_down

from src.settings import redis_url

HEARTBEAT_S = 0.5

celery_app = Celery(
    "foxproflow-demo",
    broker=redis_url(0),
    backend=redis_url(1),
    include=["src.worker.tasks"],
)

celery_app.conf.update(
    timezone="UTC",
    result_expires=3600,
    # No limit: a worker with threads that has reached one asks for more only after up to 2 s of silence.
    worker_prefetch_multiplier=0,
    beat_schedule={
        # A late heartbeat says nothing, so those that waited while no worker ran are dropped.
        "heartbeat": {"task": "ops.heartbeat", "schedule": HEARTBEAT_S, "options": {"expires": 10}},
        "kpi-daily": {"task": "planner.kpi.daily_refresh", "schedule": crontab(hour=3, minute=0)},
        "devfactory-daily": {"task": "analytics.devfactory.daily", "schedule": crontab(hour=3, minute=10)},
    },
)


@worker_shutting_down.connect
def wake_up(**_):
    """A worker with threads looks for SIGTERM between two messages only, up to 2 s later: this sends it one.

    From a thread, because a signal handler has to return even if Redis does not answer.
    """
    Thread(target=celery_app.control.broadcast, args=("ping",), daemon=True).start()
