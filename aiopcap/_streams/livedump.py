"""A dump that goes on in the background, and how to wait for its end."""

from concurrent import futures
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import anyio
import anyio.lowlevel

from aiopcap._core.bytetarget import Writable
from aiopcap._core.daemon import Daemon
from aiopcap._core.errors import copy_of
from aiopcap._core.live import LiveSource
from aiopcap._core.livedump import DumpLimits, DumpReport, Recording
from aiopcap._core.writer import SavefileWriter
from aiopcap._streams._loops import HomeLoop


@final
class LiveDump:
    """A savefile that a live capture writes in the background; see `LiveCapture.live_dump`.

    It goes on until a limit is reached, `stop` is called, or the capture is closed. As an async
    context manager it is stopped at the end of the block, which then also raises what went wrong,
    unless `wait` or `stop` did.
    """

    def __init__(self, recording: Recording, name: str) -> None:
        self._recording = recording
        self._name = name
        self._loop = HomeLoop()
        # One task waits on the descriptor, the others for that one.
        self._waiting = anyio.Lock(fast_acquire=True)
        self._reported = False
        self._daemon = Daemon(recording.run, "aiopcap-live-dump")
        self._future = self._daemon.call()

    @property
    def ended(self) -> bool:
        """Whether the file is complete and closed, or has failed; the capture can be read then."""
        return self._future.done()

    @property
    def files(self) -> tuple[Path, ...]:
        """The finished files of a rotation that are still kept, the oldest first."""
        return self._recording.files

    @property
    def packets(self) -> int:
        """How many packets were taken so far."""
        return self._recording.packets

    @property
    def nbytes(self) -> int:
        """The length of the file in bytes, with its header and what is still in the buffer."""
        return self._recording.nbytes

    async def wait(self) -> DumpReport:
        """Wait until the dump has ended; a checkpoint.

        The file is complete and closed then. Without a limit it ends only when it is stopped or
        the capture is closed. Several tasks may wait. Cancelled, the dump goes on.

        Raises:
            SavefileWriteError: If the file could not be written; a regular file then ends with
                the last record that was written whole.
            InterfaceGoneError: If the device was removed; all packets before that are in the file.
            PcapError: If the device failed otherwise.
        """
        self._check_usable()
        await self._until_ended()
        return self._result()

    async def stop(self) -> DumpReport:
        """End the dump and wait until the file is complete; a checkpoint. Idempotent.

        What the kernel has handed over by then is in the file; what comes later is there for
        whoever reads the capture next. Cancelled, the dump ends all the same, a moment later.

        Raises as `wait`.
        """
        self._check_usable()
        self._recording.stop("stopped")
        return await self.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._check_usable()
        self._recording.stop("stopped")
        with anyio.CancelScope(shield=True):
            try:
                await self._until_ended()
            finally:
                # A shield of anyio's does not hold off asyncio's own Task.cancel().
                self._join()
        if not self._reported:
            self._result()

    # -- for the capture -------------------------------------------------------------------------

    def _wake(self) -> None:
        """Have it look at what no descriptor tells of."""
        self._recording.wake()

    def _close(self) -> None:
        """Have it end, as the capture is closed next."""
        self._recording.stop("closed")

    def _join(self) -> None:
        """Block until it has ended."""
        futures.wait([self._future])

    # --------------------------------------------------------------------------------------------

    async def _until_ended(self) -> None:
        await anyio.lowlevel.checkpoint()
        async with self._waiting:
            while not self._future.done():
                await anyio.wait_readable(self._daemon.fileno())
            self._daemon.close()

    def _result(self) -> DumpReport:
        if (failure := self._future.exception()) is not None:
            self._reported = True
            raise copy_of(failure)
        return self._future.result()

    def _check_usable(self) -> None:
        self._recording.owner.check()
        if self._loop.is_other:
            raise RuntimeError(f"{self!r} belongs to another event loop, or to another thread's")

    def __repr__(self) -> str:
        return f"<{'ended ' if self.ended else ''}LiveDump {self._name!r}>"


def start_dump(
    source: LiveSource, writer: SavefileWriter, limits: DumpLimits, target: Writable
) -> LiveDump:
    """Begin to write what a source captures, which nobody else may read until that has ended."""
    name: Any = target if isinstance(target, str) else getattr(target, "name", target)
    return LiveDump(Recording(source, writer, limits), str(name))
