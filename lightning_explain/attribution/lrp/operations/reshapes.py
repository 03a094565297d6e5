"""Views that layouts of the trace's own would not allow."""

from torch import Tensor

from lightning_explain.attribution.lrp.operations.handler import Handler, Operation, Tracer


def _view(tracer: Tracer, operation: Operation) -> Tensor:
    """Run `view`, also on what is a view only for channels-first images."""
    try:
        result = operation.run()
    except RuntimeError:
        result = operation.function(operation.args[0].contiguous(), *operation.args[1:], **operation.kwargs)
    tracer.note_rank(result, tracer.rank(operation.args[0]))
    return result


HANDLERS: dict[str, Handler] = {"view": _view}
"""Views by the name of their function."""
