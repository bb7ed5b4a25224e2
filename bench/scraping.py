"""Scraping a farm while it is measured, as a Prometheus does."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager

from bench.site import Site
from echo_tasks import connections
from echo_tasks.periodic import Periodic
from echo_tasks.registry import Registry

EVERY_S = 15.0


@contextmanager
def scraped(farm: Site) -> Iterator[None]:
    """Have the API's and each worker's metrics read again and again, until the block ends."""
    with closing(connections.impatient(farm.broker_url)) as client:
        registry = Registry(client)

        def scrape() -> None:
            workers = [worker.metrics_address for worker in registry.live()]
            for address in (f"127.0.0.1:{farm.api_port}", *workers):
                with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
                    reply.read()

        scraping = Periodic("scraper", scrape, EVERY_S)
        scraping.start()
        try:
            yield
        finally:
            scraping.stop()
