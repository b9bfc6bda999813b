"""Purchases over REST: parse, call the domain, render."""

from fastapi import APIRouter

from twinport.rest import problems

from .domain import NewPurchase, Purchase, Purchases


def purchases_router(purchases: Purchases) -> APIRouter:
    """Return the routes under /v1/purchases."""
    router = APIRouter(prefix="/v1/purchases", tags=["purchases"])

    @router.post("", status_code=201, responses=problems(400, 503, 504))
    async def create_purchase(new: NewPurchase) -> Purchase:
        """Order an item and say what it costs."""
        return await purchases.create(new)

    return router
