"""The tasks. Each does its work in one transaction, so a task cut short leaves nothing behind.

Tasks are registered by the names that the release checks, not by module path.
"""

from src.db import transaction
from src.version import VERSION
from src.worker.celery_app import celery_app


@celery_app.task(name="ops.version")
def version():
    """Which code this worker runs."""
    return VERSION


@celery_app.task(name="ops.heartbeat", bind=True, ignore_result=True)
def heartbeat(self):
    """One row while the stand is up: a row that was committed and is missing later has been lost."""
    with transaction() as cursor:
        cursor.execute("INSERT INTO ops.heartbeat (worker, version) VALUES (%s, %s)", (self.request.hostname, VERSION))


@celery_app.task(name="planner.kpi.snapshot")
def kpi_snapshot():
    with transaction() as cursor:
        cursor.execute(
            "INSERT INTO planner.kpi_snapshots (orders_total, orders_open)"
            " SELECT count(*), count(*) FILTER (WHERE status <> 'done') FROM devfactory.orders"
            " RETURNING id, orders_total, orders_open"
        )
        snapshot, total, still_open = cursor.fetchone()
    return {"id": snapshot, "orders_total": total, "orders_open": still_open}


@celery_app.task(name="planner.kpi.daily_refresh")
def kpi_daily_refresh():
    with transaction() as cursor:
        cursor.execute(
            "INSERT INTO planner.kpi_daily (day, snapshots, orders_max)"
            " SELECT taken_at::date, count(*), max(orders_total) FROM planner.kpi_snapshots GROUP BY 1"
            " ON CONFLICT (day) DO UPDATE SET snapshots = excluded.snapshots, orders_max = excluded.orders_max"
        )
        return {"days": cursor.rowcount}


@celery_app.task(name="analytics.devfactory.daily")
def devfactory_daily():
    with transaction() as cursor:
        cursor.execute(
            "INSERT INTO analytics.devfactory_daily (day, status, orders)"
            " SELECT created_at::date, status, count(*) FROM devfactory.orders GROUP BY 1, 2"
            " ON CONFLICT (day, status) DO UPDATE SET orders = excluded.orders"
        )
        return {"rows": cursor.rowcount}
