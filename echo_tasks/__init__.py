"""The contract of the farm: settings, messages, queue and key names, the Celery app, the job ledger.

`celery -A echo_tasks` finds the app in `echo_tasks.celery`. Importing this package loads neither torch
nor Flask, and reads no environment.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("deep-tree-echo")
except PackageNotFoundError:  # a checkout on PYTHONPATH, not installed
    __version__ = "0+unknown"
