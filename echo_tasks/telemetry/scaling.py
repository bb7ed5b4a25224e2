"""Scaling: of a controller."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

SCALING_DECISIONS = Counter(
    "echo_scaling_decisions_total",
    "Decisions of this controller that differ from the one before, by reason.",
    ["reason"],
)
SCALING_FAULTS = Counter(
    "echo_scaling_actuator_faults_total", "Faults of the actuator that differ from the one before."
)
SCALING_LEADS = Gauge("echo_scaling_leads", "1 while this controller leads; what it decides, all others leave alone.")
SCALING_INSTANCES = Gauge(
    "echo_scaling_instances",
    "Workers by state: desired, current (serving or starting), serving, starting, draining.",
    ["state"],
)
SCALING_MOST = Gauge(
    "echo_scaling_most_instances",
    "Workers that there may be, by the tightest bound: at_max (MAX_INSTANCES), host_full, no_gain.",
    ["reason"],
)
SCALING_UTILISATION = Gauge(
    "echo_scaling_utilisation_ratio", "Steps wanted, by slots that serve, as the decision saw it."
)
SCALING_DEMAND = Gauge("echo_scaling_demand_steps", "Steps by state: busy, delivered, ready.", ["state"])
SCALING_OLDEST_SECONDS = Gauge("echo_scaling_oldest_wait_seconds", "How long the oldest waiting step has waited.")
SCALING_STARTUP_SECONDS = Gauge(
    "echo_scaling_startup_seconds", "What a worker usually takes to start; 0 until measured."
)
SCALING_FORECAST = Gauge(
    "echo_scaling_forecast_steps", "Steps that are forecast for when a worker asked for now serves."
)
SCALING_FORECAST_SCORE = Gauge(
    "echo_scaling_forecast_score_ratio",
    "Loss of the forecast in its backtest, in that of the last value with headroom; below 1 is better.",
)
SCALING_FORECAST_FLOOR = Gauge(
    "echo_scaling_forecast_floor_instances", "Workers that the forecast asks for; 0 for none."
)
