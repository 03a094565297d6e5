"""Tags, sinks for Lightning's loggers, and the step to log at."""

from lightning_explain.log.detail import Detail, DetailLevel
from lightning_explain.log.journal import Journal, current_step, defined, running_epoch
from lightning_explain.log.tags import class_parts, tag, tag_part

__all__ = [
    "Detail",
    "DetailLevel",
    "Journal",
    "class_parts",
    "current_step",
    "defined",
    "running_epoch",
    "tag",
    "tag_part",
]
