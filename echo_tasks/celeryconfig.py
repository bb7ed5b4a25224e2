"""Celery's configuration: all that `celery -A echo_tasks worker` needs to start a right worker.

Celery reads this module when the app's configuration is first used, not when the app is imported.
"""

from kombu import Exchange, Queue

from echo_tasks import addresses, keys
from echo_tasks.settings import current

_settings = current()

broker_url = addresses.for_celery(_settings.broker)
broker_use_ssl = _settings.tls if broker_url.startswith("rediss:") else False
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # for ever: a worker outlives its broker's restarts
broker_connection_timeout = 2
broker_transport_options = {
    "priority_steps": list(range(10)),  # one list a priority; kombu's own four would merge neighbours
    "queue_order_strategy": "round_robin",  # no queue starves another at the same priority
    "socket_connect_timeout": 2,
    "socket_timeout": 30,  # without one, a publish on a half-open connection never returns
    "socket_keepalive": True,
    "health_check_interval": 10,
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
worker_concurrency = _settings.echo_slots
# One process, one model: task threads tokenise, submit to the engine, and wait. Only a worker resolves the name.
worker_pool = "workers.pool:TaskPool"

worker_send_task_events = True
task_send_sent_event = True
worker_hijack_root_logger = False
