"""`aiopcap demo`: the main job on real traffic, in one screen."""

import tempfile
import time
from functools import partial
from pathlib import Path

import anyio
import click
from anyio.abc import SocketAttribute, UDPSocket

import aiopcap
from aiopcap import Capture, CaptureStatistics, DeviceFlags, LinkType, Packet
from aiopcap.cli._options import backend_option
from aiopcap.cli._running import Failure, ended_by_signals, run
from aiopcap.cli._sample import datagram
from aiopcap.cli._story import Story

WANTED = 6
LOCALHOST = "127.0.0.1"
PAUSE_SECONDS = 0.02
LIMIT_SECONDS = 5.0

_SENT = "{} UDP datagrams, every other one to port {}"
_KEPT = "{} packets, taken with async for, each sent to the file as it came"

# Datagrams are sent to the first port; every other one goes to the second, for the filter to drop.
Ports = tuple[int, int]


@click.command(short_help="Show the main job on real traffic.")
@backend_option
def demo(backend: str) -> None:
    """Show the main job: capture, filter, write a file, read it back.

    It makes its own traffic on the loopback device. Without the privilege to capture it says what
    is missing, and does the same with a file that it makes.
    """
    run(partial(_work, backend), backend)


async def _work(backend: str) -> None:
    story = Story()
    story.title(f"aiopcap {aiopcap.__version__} on {backend}, {aiopcap.libpcap_version()}")
    folder = Path(tempfile.mkdtemp(prefix="aiopcap-demo-"))
    finished = False
    async with ended_by_signals() as ending:
        ending.after(LIMIT_SECONDS)
        await _tell(story, folder)
        finished = True
    if finished:
        return
    if ending.signal is not None:
        raise click.exceptions.Exit(128 + ending.signal)
    raise Failure(f"no datagram came within {LIMIT_SECONDS:.0f} seconds: is a firewall in the way?")


async def _tell(story: Story, folder: Path) -> None:
    path = folder / "demo.pcap"
    statistics: CaptureStatistics | None = None
    try:
        captured, statistics = await _from_loopback(story, path)
    except (aiopcap.PermissionDeniedError, NoLoopbackError) as error:
        story.obstacle(error)
        captured = await _from_file(story, folder / "made.pcap", path)
    async with await aiopcap.open_offline(path) as capture:
        packets = [packet async for packet in capture]
    if packets != captured:
        raise Failure(f"{path} does not hold what was captured")
    story.step("read", f"{len(packets)} packets back, the same to the byte and the nanosecond")
    story.table(packets)
    story.end(path, statistics)


class NoLoopbackError(Exception):
    """This machine has no loopback device that is up."""


async def _from_loopback(story: Story, path: Path) -> tuple[list[Packet], CaptureStatistics]:
    device = await _loopback()
    async with (
        await anyio.create_udp_socket(local_host=LOCALHOST) as first,
        await anyio.create_udp_socket(local_host=LOCALHOST) as second,
        await anyio.create_udp_socket(local_host=LOCALHOST) as sender,
    ):
        ports = (_port(first), _port(second))
        expression = _expression(ports)
        async with await aiopcap.open_live(device, filter=expression) as capture:
            story.step("capture", f"on {device}, filter: {expression}")
            async with anyio.create_task_group() as group:
                group.start_soon(_send, sender, ports)
                story.step("send", _SENT.format(2 * WANTED, ports[1]))
                captured = await _keep(capture, path)
                group.cancel_scope.cancel()
            story.step("dump", _KEPT.format(len(captured)))
            return captured, capture.statistics()


async def _loopback() -> str:
    wanted = DeviceFlags.LOOPBACK | DeviceFlags.UP
    for device in await aiopcap.findalldevs():
        if device.flags & wanted == wanted:
            return device.name
    raise NoLoopbackError("there is no loopback device that is up")


async def _send(sender: UDPSocket, ports: Ports) -> None:
    for number in range(2 * WANTED):
        await sender.sendto(_payload(number), LOCALHOST, ports[number % 2])
        await anyio.sleep(PAUSE_SECONDS)


async def _keep(capture: Capture, path: Path) -> list[Packet]:
    """The main job: take packets as they come, and write each to a file."""
    captured = []
    async with await capture.dump_open(path) as dumper:
        async for packet in capture:
            captured.append(packet)
            await dumper.send(packet)
            if len(captured) == WANTED:
                break
    return captured


async def _from_file(story: Story, made: Path, path: Path) -> list[Packet]:
    ports = (40001, 40002)
    now = time.time_ns()
    async with await aiopcap.dump_open(made, linktype=LinkType.EN10MB) as dumper:
        for number in range(2 * WANTED):
            ends = (40000, ports[number % 2])
            at = now + number * int(PAUSE_SECONDS * 1e9)
            await dumper.send(datagram(_payload(number), ends, timestamp_ns=at))
    story.step("make", f"{made}: {2 * WANTED} UDP datagrams")
    expression = _expression(ports)
    async with await aiopcap.open_offline(made, filter=expression) as capture:
        story.step("capture", f"from that file, filter: {expression}")
        captured = await _keep(capture, path)
    story.step("dump", _KEPT.format(len(captured)))
    return captured


def _expression(ports: Ports) -> str:
    return f"udp and dst port {ports[0]}"


def _payload(number: int) -> bytes:
    return b"datagram %02d" % (number + 1)


def _port(udp: UDPSocket) -> int:
    return udp.extra(SocketAttribute.local_port)
