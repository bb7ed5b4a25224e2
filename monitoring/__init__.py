"""What shows the farm: to Prometheus, and in a terminal."""
