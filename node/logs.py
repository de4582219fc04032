"""Logs: what a node says of itself, on standard error. One law: no secret and no payload is ever written.

Events are named `noun.verb` with values beside them. The other rooms do not log; libraries that use the standard
library's logging are written in the same form.
"""

from __future__ import annotations

import logging
import sys
from typing import Final, Literal, TypeAlias

import structlog

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
_LEVEL: Final[list[Level]] = ["info"]
"""The level in force; one process has one log."""


def current_level() -> Level:
    """Return the least severity that is written."""
    return _LEVEL[0]


def set_level(level: Level) -> None:
    """Change the least severity that is written, from now on."""
    _LEVEL[0] = level
    severity = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(severity))
    logging.getLogger().setLevel(max(severity, logging.WARNING))


def configure(level: Level, form: Literal["text", "json"], *, node: str) -> None:
    """Set up logging for this process; call once, before anything else is started.

    Args:
        level: least severity that is written.
        form: `text` for people, `json` for machines.
        node: name of the node, bound to every line.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if form == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer: structlog.types.Processor = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[*shared, renderer],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # `set_level` reaches loggers that have been used
    )
    structlog.contextvars.bind_contextvars(node=node)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)
