"""When a reader had better let packets gather instead of waiting for the next one."""

# Between two waits under load. It is short beside what the ring bridges: at the least as many
# milliseconds as it has blocks of 256 KiB, and the bytes of a pause are a small share of it.
GATHER_SECONDS = 0.003
GATHER_PACKETS = 256
GATHER_SHARE = 8
GATHER_LEAST_BUFFER = 4 * 1024 * 1024


class Gathering:
    """Counts what comes between two waits.

    To wake up costs as much as some hundred packets do. When packets come by the hundred each time,
    waking up half as often delays none of them by much, and the ring has the room.

    Args:
        room: The bytes of the ring that packets gather in; 0 where they must not.
    """

    def __init__(self, room: int) -> None:
        self._room = room if room >= GATHER_LEAST_BUFFER else 0
        self._packets = self._nbytes = 0

    def count(self, packets: int, nbytes: int) -> None:
        """Take note of packets that were read."""
        self._packets += packets
        self._nbytes += nbytes

    def pause(self) -> float:
        """Return the seconds to pause before the next wait, and count from 0 again."""
        enough = self._packets >= GATHER_PACKETS
        gathers = enough and self._nbytes * GATHER_SHARE <= self._room
        self._packets = self._nbytes = 0
        return GATHER_SECONDS if gathers else 0.0
