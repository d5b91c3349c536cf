"""For probes and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from apis import container
from rag.health import live
from rag.metrics import exposed
from rag.parts import Used

router = APIRouter(tags=["operations"])


class HealthStatus(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "Healthy"}]})

    status: str
    detail: str | None = None


@router.get(
    container.HEALTH_PATH,
    summary="Whether all indexes are there",
    responses={200: {"model": HealthStatus}, 503: {"model": HealthStatus}},
    response_model=None,
)
async def health_check(parts: Used) -> Response:
    return parts.health.answer()


@router.get(container.RAG_LIVE_PATH, summary="Whether the process turns over", response_model=None)
async def live_check() -> Response:
    return live()


@router.get(container.METRICS_PATH, summary="For Prometheus", response_model=None)
async def metrics(request: Request, parts: Used) -> Response:
    text, content_type = exposed(parts.metrics.registry, request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": content_type})
