"""What the API is measured against: the same JSON from a FastAPI app that does nothing else.

It is served by the API's own program, with its app exchanged, so that whatever uvicorn is told
there holds here, too.  Written the usual way in two variants, of which the faster one counts:
typed response models, and plain dicts.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import uvicorn
from backupexport_api import __main__ as program
from backupexport_api.http.routing import Envelope
from backupexport_api.jobs.routes import JobList
from backupexport_api.jobs.view import JobView
from fastapi import FastAPI

# A file with {"job": …, "list": …}: two answers of the API.
ANSWERS = "BENCH_ANSWERS"
VARIANTS = ("typed", "plain")


def bare_app(answers: dict[str, Any]) -> FastAPI:
    """`/<variant>/api/jobs` and `/<variant>/api/jobs/{job_id}`, without any work behind them."""
    app = FastAPI()
    job, jobs = answers["job"], answers["list"]
    typed_job = Envelope[JobView].model_validate(job)
    typed_jobs = JobList.model_validate(jobs)

    @app.get("/typed/api/jobs/{job_id}")
    async def show_typed(job_id: str) -> Envelope[JobView]:
        del job_id
        return typed_job

    @app.get("/plain/api/jobs/{job_id}", response_model=None)
    async def show_plain(job_id: str) -> dict[str, Any]:
        del job_id
        plain: dict[str, Any] = job
        return plain

    @app.get("/typed/api/jobs")
    async def list_typed() -> JobList:
        return typed_jobs

    @app.get("/plain/api/jobs", response_model=None)
    async def list_plain() -> dict[str, Any]:
        plain: dict[str, Any] = jobs
        return plain

    return app


def main() -> int:
    """Serve as the API does."""
    app = bare_app(json.loads(Path(os.environ[ANSWERS]).read_text(encoding="utf-8")))
    config_of = uvicorn.Config
    with patch.object(uvicorn, "Config", lambda _, **settings: config_of(app, **settings)):
        return program.main()


if __name__ == "__main__":
    sys.exit(main())
