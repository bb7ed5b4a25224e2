"""What Prometheus is told of Celery and of the farm as a whole."""
