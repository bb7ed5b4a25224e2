"""Clients that follow jobs by their event streams, thousands in one process, through TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

SOURCES = [f"127.0.0.{host}" for host in range(2, 18)]
"""Addresses that they come from, so that no port runs out and no client is one too many."""

_OPENING = 64
"""That connect at the same time."""


@dataclass
class Counts:
    """Streams that have begun, their heartbeats, those that ended with their job, and those that failed."""

    begun: int = 0
    heartbeats: int = 0
    ended: int = 0
    faults: int = 0
    last_fault: str = ""


class Followers:
    """Streams of these jobs, by turns, at a port of loopback."""

    def __init__(self, port: int, tls: ssl.SSLContext | None, job_ids: Sequence[str], streams: int) -> None:
        self.counts = Counts()
        self._port = port
        self._tls = tls
        self._opening = asyncio.Semaphore(_OPENING)
        self._tasks = [asyncio.create_task(self._follow(n, job_ids[n % len(job_ids)])) for n in range(streams)]

    async def begun(self, within_s: float) -> None:
        """Wait until all have begun. Raises TimeoutError."""
        await self._until(lambda: self.counts.begun + self.counts.faults >= len(self._tasks), within_s)

    async def over(self, within_s: float) -> None:
        """Wait until all are over, however. Raises TimeoutError."""
        await asyncio.wait_for(asyncio.gather(*self._tasks), within_s)

    async def _until(self, is_so: object, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while not is_so():  # type: ignore[operator]
                await asyncio.sleep(0.1)

    async def _follow(self, number: int, job_id: str) -> None:
        try:
            async with self._opening:
                reader, writer = await self._open(number, job_id)
            try:
                await self._read(reader)
            finally:
                writer.close()
        except (OSError, EOFError, ValueError) as error:
            self.counts.faults += 1
            self.counts.last_fault = f"{type(error).__name__}: {error}"

    async def _open(self, number: int, job_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        source = SOURCES[number % len(SOURCES)]
        name = "localhost" if self._tls else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._tls, server_hostname=name, local_addr=(source, 0), limit=4096
        )
        writer.write(f"GET /api/jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise ValueError(f"answered {status!r}")
        while not (await reader.readline()).startswith(b"retry:"):
            pass
        self.counts.begun += 1
        return reader, writer

    async def _read(self, reader: asyncio.StreamReader) -> None:
        async for line in reader:
            if line.startswith(b": "):
                self.counts.heartbeats += 1
            if line.startswith(b"data:") and b'"cancelled"' in line:
                self.counts.ended += 1
                return
        raise EOFError("the stream ended before its job")
