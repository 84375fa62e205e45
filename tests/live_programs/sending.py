"""A capture that sends in a process that forks."""

import warnings
from collections.abc import Awaitable

import anyio

from aiopcap import LiveCapture, open_live
from tests.live_programs import in_child, main
from tests.support.frames import frame, numbered
from tests.support.veth import veth_pair
from tests.support_send import METHODS, listening, only, queue_of

# Newer Pythons warn of forks beside threads. They are right, but it is done.
warnings.simplefilter("ignore", DeprecationWarning)


async def send_in_child() -> None:
    """Each way to send is refused in the child; the parent goes on, and nothing is sent twice."""
    frames = numbered(10)
    with veth_pair() as veth:
        async with await open_live(veth.near) as capture:
            with listening(veth) as far:

                def use() -> None:
                    for name, method in METHODS.items():
                        try:
                            result = method(capture, frame())
                            if isinstance(result, Awaitable):
                                # The loop belongs to the parent: take the first step by hand.
                                next(result.__await__())
                        except RuntimeError as error:
                            if "fork" not in str(error):
                                raise
                        else:
                            raise AssertionError(name)

                await capture.send_batch(frames[:5])
                in_child(use)
                for data, method in zip(frames[5:], METHODS.values(), strict=False):
                    await only(method(capture, data))
                assert await far.everything() == frames[:9]

                # A transmission goes on through a child's life and end.
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_transmit, capture)
                    assert await far.frames(1) == numbered(1)
                    in_child(lambda: None)
                assert await far.everything() == numbered(20)[1:]


async def _transmit(capture: LiveCapture) -> None:
    report = await queue_of(numbered(20)).transmit(capture, pps=200)
    assert report.packets == 20


if __name__ == "__main__":
    main(send_in_child)
