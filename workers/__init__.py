"""The workers: the RWKV-7 engine, the membranes, and the boot step that puts them into a Celery worker."""
