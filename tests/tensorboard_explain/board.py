"""A real TensorBoard on a port of its own, and what the tests ask it."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

STARTS_WITHIN = 120
READS_WITHIN = 60


class Board:
    """`tensorboard --logdir` as a process; end it with `stop`."""

    def __init__(self, logdir: Path, *, load_fast: bool, options: tuple[str, ...] = ()) -> None:
        self._log = (logdir.parent / f"{logdir.name}-{load_fast}-{time.time_ns()}.log").open("w+")
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", "0"]
        command += ["--host", "127.0.0.1", "--reload_interval", "1", f"--load_fast={str(load_fast).lower()}", *options]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        self.address = self._started()

    def _started(self) -> str:
        end = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < end:
            said = Path(self._log.name).read_text()
            found = re.search(r"TensorBoard \S+ at (http://\S+)", said)
            if found:
                return found[1].rstrip("/")
            assert self._process.poll() is None, f"TensorBoard ended: {said}"
            time.sleep(0.2)
        raise AssertionError(f"TensorBoard did not start within {STARTS_WITHIN} s: {Path(self._log.name).read_text()}")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def ask(self, path: str, *, method: str = "GET", **parameters: str) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and headers."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        request = urllib.request.Request(f"{self.address}/{path}{query}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), dict(error.headers)

    def json(self, path: str, **parameters: str) -> Any:
        status, body, _ = self.ask(path, **parameters)
        assert status == 200, (status, body)
        return json.loads(body)

    def data(self, route: str, **parameters: str) -> Any:
        """Ask one of the tab's own routes."""
        return self.json(f"data/plugin/explain/{route}", **parameters)

    def wait_for_runs(self, *names: str) -> dict[str, Any]:
        """Wait until TensorBoard has read events of these runs."""
        end = time.monotonic() + READS_WITHIN
        found: dict[str, Any] = {}
        while time.monotonic() < end:
            found = self.data("runs")["runs"]
            if set(names) <= set(found):
                return found
            time.sleep(0.3)
        raise AssertionError(f"TensorBoard knows {sorted(found)}; expected {names}")
