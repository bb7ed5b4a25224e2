"""The contract of the farm: settings, messages, queue and key names, the Celery app, the job ledger.

`celery -A echo_tasks` finds the app in `echo_tasks.celery`. Importing this package loads neither torch
nor Flask, and reads no environment.
"""

__version__ = "0.2.0"
"""The release. It is written here, not read from an installation: a checkout on PYTHONPATH is what it says."""
