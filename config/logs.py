"""One JSON object a line on stderr, for our own loggers and for the libraries' alike."""

import logging.config

import structlog

from config.env import one_of, optional, true_or_false


def log_as_told() -> str:
    """Set logging up from LOG_LEVEL and LOG_JSON; returns the level."""
    level = optional("LOG_LEVEL", default="INFO", example="INFO", parse=one_of("DEBUG", "INFO", "WARNING", "ERROR"))
    logging_settings(level=level, json=optional("LOG_JSON", default=True, example="true", parse=true_or_false))
    return level


def logging_settings(*, level: str, json: bool) -> None:
    """Send structlog and the standard library's logging through the same renderer."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"handlers": ["stderr"], "level": level},
            # A line for each task would be a line a second that says nothing.
            "loggers": {
                "celery.app.trace": {"level": "WARNING"},
                "celery.worker.strategy": {"level": "WARNING"},
            },
        }
    )
