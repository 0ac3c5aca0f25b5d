# Asks the worker of this container: is it there, does it know its tasks, does
# a task really go through it. One JSON line for each answer, as soon as it is
# known. Ends with 0 also when an answer is bad: the lines tell.
import json
import os
import sys
import threading
import time

asked = json.loads(FF_PROBE)  # noqa: F821, the line before this program
limit = float(asked["timeout"])
started = time.monotonic()
printing = threading.Lock()


def answer(check, ok, detail="", items=()):
    line = {"check": check, "ok": bool(ok), "detail": str(detail)[:20000], "items": list(items)}
    with printing:
        print(json.dumps(line), flush=True)


def left():
    return max(0.2, limit - (time.monotonic() - started))


sys.path.insert(0, os.getcwd())
try:
    from celery.app.utils import find_app

    app = find_app(asked["app"])
except BaseException as error:  # an import error in the application is an answer
    for check in asked["checks"]:
        answer(check, False, "the app %s does not load: %s: %s" % (asked["app"], type(error).__name__, error))
    sys.exit(0)


def load():
    """Imports here, in one thread, what the questions need: two threads that import parts of one package
    at once can end with _DeadlockError. A failure is told by the question that meets it again."""
    try:
        import celery.backends.base
        import celery.result  # noqa: F401

        app.finalize()
        "localhost".encode("idna")
        with app.connection_for_write() as connection:
            loaded = (connection.transport, app.control.inspect, app.backend, app.amqp.send_task_message)
        del loaded
    except BaseException:
        pass


def until(question):
    """Asks until there is an answer: a worker that just started does not hear its first questions."""
    pause = 0.3
    while True:
        inspect = app.control.inspect(destination=[asked["node"]], timeout=min(pause, left()))
        found = question(inspect)
        if found and found.get(asked["node"]) is not None:
            return found[asked["node"]]
        if time.monotonic() - started >= limit:
            return None
        pause = min(pause * 2, 2.0)


def ping():
    found = until(lambda i: i.ping())
    answer("ping", bool(found), "pong from %s" % asked["node"] if found else "no pong from %s within %.0f s" % (asked["node"], limit))


def tasks():
    found = until(lambda i: i.registered())
    if found is None:
        return answer("tasks", False, "no answer from %s within %.0f s" % (asked["node"], limit))
    known = {name.split(" ")[0] for name in found}
    missing = [name for name in asked["tasks"] if name not in known]
    detail = "not registered: " + ", ".join(missing) if missing else "%d demanded tasks registered" % len(asked["tasks"])
    answer("tasks", not missing, detail, sorted(known))


def active():
    found = until(lambda i: i.active())
    names = ["%s %s" % (task.get("name"), task.get("id")) for task in found or []]
    answer("active", found is not None, "%d active" % len(names), names)


def round_trip():
    # celery.accumulate returns its arguments and touches nothing. It expires, so that a worker
    # which consumes nothing does not find it in its queue for ever.
    from celery.backends.base import DisabledBackend

    if isinstance(app.backend, DisabledBackend):
        return counted()
    sent = app.send_task("celery.accumulate", args=[19, 23], expires=limit)
    try:
        value = sent.get(timeout=left(), interval=0.02)
    except BaseException as error:
        sent.revoke()
        return answer("round_trip", False, "sent celery.accumulate, no result within %.0f s: %s" % (limit, type(error).__name__))
    sent.forget()
    answer("round_trip", list(value or []) == [19, 23], "celery.accumulate(19, 23) = %r" % (value,))


def counted():
    # Without a result backend the worker's own counters must show that it ran.
    def count():
        stats = until(lambda i: i.stats())
        return None if stats is None else stats.get("total", {}).get("celery.accumulate", 0)

    before = count()
    if before is None:
        return answer("round_trip", False, "no statistics from %s" % asked["node"])
    app.send_task("celery.accumulate", args=[19, 23], expires=limit)
    while left() > 0.2:
        now = count()
        if now is not None and now > before:
            return answer("round_trip", True, "the worker counted one more celery.accumulate")
        time.sleep(0.05)
    answer("round_trip", False, "sent celery.accumulate, the worker did not count it within %.0f s" % limit)


def guarded(name, check):
    def run():
        try:
            check()
        except BaseException as error:
            answer(name, False, "%s: %s" % (type(error).__name__, error))

    return run


known = {"ping": ping, "tasks": tasks, "round_trip": round_trip, "active": active}
load()
threads = [threading.Thread(target=guarded(name, known[name]), daemon=True) for name in asked["checks"]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(limit + 5)
os._exit(0)  # broker threads would hold the process
