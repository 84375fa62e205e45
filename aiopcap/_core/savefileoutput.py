"""The side of a savefile that a thread works on: buffers of records become a file, or several."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aiopcap._core.bytetarget import ByteTarget
from aiopcap._core.recordbuffer import RecordBuffer
from aiopcap._core.rotatingtarget import RotatingTarget


class SavefileOutput:
    """Writes buffers to a target, behind the file's header.

    What it raises leaves a regular file ending with its last whole record; then it is only to be
    closed.

    Args:
        target: Owned; one that rotates, where buffers have cuts.
        header: What a file begins with.
        length: How many bytes are there already: none, or a header and whole records.
        surplus: How many bytes there are behind those, which have to go.

    Attributes:
        length: How long the file is, as far as it is written.
    """

    def __init__(
        self, target: ByteTarget | RotatingTarget, header: bytes, length: int, surplus: int
    ) -> None:
        self.length = length
        self._target = target
        self._header = header
        self._surplus = surplus

    @property
    def name(self) -> str | None:
        """The file's, for messages."""
        return self._target.name

    @property
    def files(self) -> tuple[Path, ...]:
        """The finished files of a rotation that are still there."""
        return self._target.files if isinstance(self._target, RotatingTarget) else ()

    def write(self, buffer: RecordBuffer) -> None:
        """Write the records, and begin a new file at each cut."""
        self._begin()
        with buffer.view() as view:
            start = 0
            for end, time in buffer.cuts:
                self._write_records(buffer, view, start, end)
                self._next_file(time)
                start = end
            self._write_records(buffer, view, start, buffer.used)

    def flush(self) -> None:
        """Let others read all that was written."""
        self._target.flush()

    def finish(self) -> None:
        """Write what the end of a file needs."""
        self._target.finish()

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        self._target.sync()

    def close(self) -> None:
        """Close the target."""
        self._target.close()

    def _begin(self) -> None:
        if self._surplus:
            self._target.cut(self._surplus)
            self._surplus = 0
        if self.length == 0:
            self._write(memoryview(self._header), _nothing)

    def _next_file(self, time: float) -> None:
        assert isinstance(self._target, RotatingTarget)  # nobody else is given cuts
        self._target.next_file(time)
        self.length = 0
        self._begin()

    def _write_records(self, buffer: RecordBuffer, view: memoryview, start: int, end: int) -> None:
        def whole(done: int) -> int:
            return buffer.whole(start, done)

        self._write(view[start:end], whole)

    def _write(self, data: memoryview, whole: Callable[[int], int]) -> None:
        done = 0
        try:
            while done < len(data):
                done += self._target.write(data[done:])
        except BaseException:
            kept = whole(done)
            with suppress(OSError):
                self._target.cut(done - kept)
                done = kept
            raise
        finally:
            self.length += done


def _nothing(_done: int) -> int:
    return 0
