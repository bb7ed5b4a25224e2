"""Seeing the farm: what Prometheus and Grafana need, and a terminal."""
