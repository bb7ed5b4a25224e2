"""Dashboards, described in `boards/*.toml` and drawn as Grafana's JSON."""
