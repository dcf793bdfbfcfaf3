"""Runs one function in a child process with Megatron in it, and hands its result, events and errors to the parent.

Megatron keeps global state, prints freely and takes 20 s to import. A child keeps the first out of the caller, its
output goes to a log file, and the import is paid once: children are forked from a server that has done it
(fork_server.py), unless there is a GPU. A child ends with its parent, however that ends. `run_apart` does the same
without Megatron.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from glide_nemo import fork_server
from glide_nemo.errors import GlideError, from_os_error
from glide_nemo.planning.machine import this_machine

PRELOAD = "glide_nemo.training.preload"  # imports Megatron

Event = dict[str, Any]


def run_with_megatron(
    function: Callable[..., Any],
    *args: Any,
    log: Path | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Any:
    """`function(*args, report)` in a child process, within `megatron_engine()`; `report(event)` reaches `on_event`.

    What the child prints is appended to `log`. Raises GlideError as the child raised it, and for any other failure one
    that names the log, with the traceback as its cause. SIGTERM is the child's to answer (it saves a checkpoint); then
    KeyboardInterrupt is raised here.
    """
    ahead = imported_ahead()
    if ahead:
        fork_server.start(*ahead)
    return _run("forkserver" if ahead else "spawn", partial(_within_megatron, function), args, log, on_event)


def imported_ahead() -> tuple[str, ...]:
    """What the fork server imports for workers: nothing where there is a GPU.

    Megatron asks for CUDA as it is imported, and no fork of a process that did can use it (torch.cuda,
    `_is_in_bad_fork`).
    """
    return () if this_machine().gpus else (PRELOAD,)


def run_apart(function: Callable[..., Any], *args: Any, log: Path | None = None) -> Any:
    """`function(*args, report)` in a new Python that has imported nothing: for libraries that Megatron's would disturb.

    What is printed, and errors, as with `run_with_megatron`.
    """
    return _run("spawn", function, args, log, lambda event: None)


def _within_megatron(function: Callable[..., Any], *args: Any) -> Any:
    from glide_nemo.cpu import megatron_engine

    with megatron_engine():
        return function(*args)


def _run(
    method: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    log: Path | None,
    on_event: Callable[[Event], None],
) -> Any:
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, log, function, args))
    child.start()
    sender.close()
    with passing_on_sigterm(lambda: [child]) as passed_on:
        try:
            return _answer(receiver, child, log, on_event)
        except GlideError:
            if passed_on:
                raise KeyboardInterrupt from None
            raise
        finally:
            receiver.close()
            child.join(timeout=5)
            if child.is_alive():
                child.kill()
                child.join()


def _answer(receiver: Connection, child: BaseProcess, log: Path | None, on_event: Callable[[Event], None]) -> Any:
    """Hands on the child's events until it has a result, or an error."""
    while True:
        try:
            kind, content = receiver.recv()
        except EOFError:
            child.join()
            raise GlideError(_died(child.exitcode, log)) from None
        if kind == "event":
            on_event(content)
        elif kind == "result":
            return content
        elif kind == "refused":
            raise GlideError(content)
        else:
            told = f"{content[0]}, in a process of its own: {_see(log)}"
            raise GlideError(told) from RuntimeError(content[1])


@contextmanager
def passing_on_sigterm(children: Callable[[], list[BaseProcess]]) -> Iterator[list[int]]:
    """SIGTERM goes to the children instead of ending this process; yields a list that then is not empty."""
    passed_on: list[int] = []

    def pass_on(number: int, frame: Any) -> None:
        passed_on.append(number)
        for child in children():
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)

    if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
        yield passed_on
        return
    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield passed_on
    finally:
        signal.signal(signal.SIGTERM, before)


def _child(sender: Connection, log: Path | None, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    _end_with_parent()
    output = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        result = function(*args, lambda event: sender.send(("event", event)))
        sender.send(("result", result))
    except GlideError as error:
        traceback.print_exc()
        sender.send(("refused", str(error)))
    except OSError as error:
        traceback.print_exc()
        sender.send(("refused", str(from_os_error(error))))
    except BaseException as error:
        first_line = (str(error).strip().splitlines() or [""])[0]
        sender.send(("failed", (f"{type(error).__name__}: {first_line}", traceback.format_exc())))


def _end_with_parent() -> None:
    """A thread that ends this process when its parent does, killed or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _died(exitcode: int | None, log: Path | None) -> str:
    if exitcode == -9:
        return "the training process was killed (out of memory, or by hand): run the same command again, it goes on"
    return f"the training process ended with status {exitcode}: {_see(log)}"


def _see(log: Path | None) -> str:
    return f"see the end of {log}" if log else "run it again with --debug"
