"""Tags, sinks for Lightning's loggers, and the step to log at."""

from lightning_explain.log.journal import Journal, current_step, defined
from lightning_explain.log.tags import tag, tag_part

__all__ = ["Journal", "current_step", "defined", "tag", "tag_part"]
