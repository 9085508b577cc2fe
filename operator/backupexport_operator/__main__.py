"""`backupexport-operator`: runs until SIGTERM or SIGINT."""

import asyncio
import logging
import sys

import kopf
from pydantic import ValidationError

from backupexport_operator.handlers import build_registry, configure
from backupexport_operator.logs import configure_logging
from backupexport_operator.settings import Settings


def main() -> int:
    """Exit status 0 after a signal, 2 where the settings are wrong."""
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "BACKUPEXPORT_" + "_".join(map(str, problem["loc"])).upper()
            sys.stderr.write(f"{name}: {problem['msg']}\n")
        return 2
    configure_logging(settings.log_level, settings.log_format)
    logging.getLogger(__name__).info("serving namespace %s", settings.namespace)
    kopf_settings = kopf.OperatorSettings()
    configure(kopf_settings)
    asyncio.run(
        kopf.operator(
            registry=build_registry(settings),
            settings=kopf_settings,
            namespaces=[settings.namespace],
            standalone=True,
            liveness_endpoint=f"http://0.0.0.0:{settings.liveness_port}/healthz",
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
