"""Several processes that know each other (gloo), started once and cheaply: for tests of distributed runs."""

import multiprocessing
import os
import socket
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

PRELOADED = ["lightning.pytorch", "captum.attr", "lightning_explain.callbacks.neurons.monitor", "sklearn.datasets"]
"""Imported once, by the server that the processes are forked from."""

LONGEST = 240
"""Seconds after which processes that wait for each other are ended."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def together(count: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """Call `work(*args)` in `count` processes of one group; return what each returned, in the order of ranks.

    Lightning finds them as if torchrun had started them, so that several Trainers can run one after the other.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    port = free_port()
    running: list[tuple[Any, Connection]] = []
    for rank in range(count):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_member, args=(there, rank, count, port, work, args), daemon=True)
        process.start()
        there.close()
        running.append((process, here))
    try:
        return [_answer(here, rank) for rank, (_, here) in enumerate(running)]
    finally:
        for process, _ in running:
            process.terminate()
            process.join()


def _answer(here: Connection, rank: int) -> Any:
    assert wait([here], LONGEST), f"process {rank} still works or waits after {LONGEST} s"
    problem, found = here.recv()
    assert not problem, f"process {rank}: {problem}"
    return found


def _member(
    there: Connection, rank: int, count: int, port: int, work: Callable[..., Any], args: tuple[Any, ...]
) -> None:

    torch.set_num_threads(1)
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "tests",
    }
    warnings.filterwarnings("ignore")
    try:
        if count > 1:
            torch.distributed.init_process_group("gloo")
        there.send(("", work(*args)))
    except BaseException:  # noqa: BLE001 - told to the test
        there.send((traceback.format_exc(), None))
    finally:
        if count > 1:
            torch.distributed.destroy_process_group()
