"""Orders of the development factory: the newest ones, and a way to add one."""

import hmac

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from pydantic import BaseModel, Field

from src.db import transaction
from src.settings import ARCHITECT_KEY

COLUMNS = [
    "id",
    "title",
    "status",
    "note",
    "created_at",
]


def architect(request: Request):
    """Lets the request pass if it carries the architect key, or if none is configured."""
    if not ARCHITECT_KEY:
        return
    headers = request.headers
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    given = headers.get("x-ff-architect-key") or headers.get("x-architect-key") or bearer
    if not hmac.compare_digest(given.encode(), ARCHITECT_KEY.encode()):
        raise HTTPException(403, "architect key required")


router = APIRouter(prefix="/api/devfactory/orders", dependencies=[Depends(architect)])


class NewOrder(BaseModel):
    title: str = Field(min_length=1, max_length=200)
    note: str = Field("", max_length=2000)


@router.get("/recent")
def recent(limit: int = Query(20, ge=1, le=100), include_result: bool = False):
    columns = COLUMNS + (["result"] if include_result else [])
    with transaction() as cursor:
        cursor.execute(
            f"SELECT {', '.join(columns)} FROM devfactory.orders ORDER BY id DESC LIMIT %s",
            (limit,),
        )
        items = [dict(zip(columns, row)) for row in cursor]
    return {"ok": True, "limit": limit, "items": items}


@router.post("", status_code=201)
def create(order: NewOrder):
    """Answers only after the commit: whoever gets this id may count on the row."""
    with transaction() as cursor:
        cursor.execute(
            "INSERT INTO devfactory.orders (title, note) VALUES (%s, %s) RETURNING id",
            (order.title, order.note),
        )
        (order_id,) = cursor.fetchone()
    return {"ok": True, "id": order_id}
