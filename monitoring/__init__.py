"""Seeing the farm: what Prometheus and Grafana need."""
