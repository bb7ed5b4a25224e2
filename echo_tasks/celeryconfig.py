"""Celery's configuration: all that `celery -A echo_tasks worker` needs to start a right worker.

Celery reads this module when the app's configuration is first used, not when the app is imported.
"""

import socket

from kombu import Exchange, Queue

from echo_tasks import addresses, keys
from echo_tasks.settings import current

_settings = current()


def _keepalive() -> dict[int, int]:
    """Kernel options by which a peer that has vanished without a word is found out in about 25 s, where there are such.

    The kernel's own defaults take two hours.
    """
    wanted = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


broker_url = addresses.for_celery(_settings.broker)
broker_use_ssl = _settings.tls if broker_url.startswith("rediss:") else False
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # for ever: a worker outlives its broker's restarts
broker_channel_error_retry = True  # so does it outlive a broker without room, which answers an ack with an error
broker_connection_timeout = 2
broker_transport_options = {
    "priority_steps": list(range(keys.HIGHEST)),  # one list a priority; kombu's own four would merge neighbours
    "queue_order_strategy": "round_robin",  # no queue starves another at the same priority
    # A message is overdue when nobody has renewed it for so long (workers/visibility.py); sweeps look for such.
    "visibility_timeout": _settings.echo_visibility_s,
    "unacked_restore_interval": _settings.echo_visibility_s / 6,
    "unacked_restore_throttle": 1,  # every call sweeps; kombu's own ten make it a hundred seconds
    "unacked_mutex_expire": max(1, round(_settings.echo_visibility_s)),  # or a sweeper's death ends sweeps for 300 s
    # Half-open connections: without a timeout a publish never returns, and one as long would hold up the main loop.
    "socket_connect_timeout": 2,
    "socket_timeout": 10,
    "socket_keepalive": True,
    "socket_keepalive_options": _keepalive(),
    "health_check_interval": 10,  # a BRPOP or subscription that is not answered is given up after 20 or 30 s
    "master_name": _settings.sentinel_primary,  # for sentinel:// alone, as the next
    "sentinel_kwargs": {"socket_connect_timeout": 2, "socket_timeout": 2},
}

# JSON only, from anyone, both ways.
accept_content = ["json"]
task_serializer = "json"
event_serializer = "json"

# The ledger keeps results. Celery keeps none.
task_ignore_result = True

_exchange = Exchange("echo", type="direct")
task_queues = [Queue(keys.queue(step), _exchange, routing_key=keys.queue(step)) for step in keys.STEPS]
task_default_queue = keys.queue(keys.MEMBRANES[0])
task_default_exchange = _exchange.name
task_default_routing_key = task_default_queue
task_create_missing_queues = False  # a misspelt -Q is an error, not a queue that nobody fills
task_routes = {keys.task(step): {"queue": keys.queue(step), "routing_key": keys.queue(step)} for step in keys.STEPS}

# A message is acknowledged when its step is in the ledger; a worker holds one message a slot and no more.
task_acks_late = True
worker_prefetch_multiplier = 1
worker_concurrency = _settings.echo_slots  # unset: the worker finds out how many (workers/runtime.py)
# One process, one model: task threads tokenise, submit to the engine, and wait. Only a worker resolves the name.
worker_pool = "workers.pool:TaskPool"
worker_autoscaler = "workers.autoscaler:Autoscaler"  # for --autoscale=MAX,MIN

worker_send_task_events = True
task_send_sent_event = True
worker_hijack_root_logger = False
