"""Clients of logging services that note what they are given."""

from pathlib import Path
from typing import Any


class Client:
    """Takes any call; `calls` holds its name, arguments and options."""

    def __init__(self, folder: Path | None = None) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.dir = str(folder)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: self.calls.append((name, args, options))


class LoggerOf:
    """A logger of that client, which notes its own calls there too."""

    run_id = "run 1"

    def __init__(self, client: Client) -> None:
        self.experiment = client
        self.log_image, self.log_metrics = client.log_image, client.log_metrics
