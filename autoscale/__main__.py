"""`python -m autoscale`: a controller, which leads or stands by until it is told to end."""

from __future__ import annotations

import os
import signal
import socket

from autoscale import health
from autoscale.actuators import assembly
from autoscale.controller import ROUND_S, Controller
from autoscale.decision import Policy
from echo_tasks import connections, guard, logs
from echo_tasks.errors import BrokerUnavailable, SettingsError, exit_misconfigured
from echo_tasks.periodic import Periodic
from echo_tasks.registry import Registry
from echo_tasks.serving import Server
from echo_tasks.settings import Settings, current

_STOPPING = {signal.SIGTERM, signal.SIGINT}

STABILISATION_INTERVALS = 10
"""So many intervals of calm come before each worker that goes: five minutes by default, as everywhere."""

log = logs.get("autoscale")


def policy(settings: Settings) -> Policy:
    """The policy that the settings name."""
    return Policy(
        scale_up=settings.scale_up_threshold,
        scale_down=settings.scale_down_threshold,
        least=settings.min_instances,
        most=settings.max_instances,
        interval_s=settings.health_check_interval,
        is_enabled=settings.auto_scaling_enabled,
        stabilisation_s=STABILISATION_INTERVALS * settings.health_check_interval,
    )


def main(settings: Settings) -> None:
    """Run until a signal says to stop."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    logs.configure()
    broker = connections.impatient(settings.broker)
    if not guard.check(broker):
        guard.watch(broker)
    try:
        controller = Controller(
            broker,
            policy(settings),
            assembly.make(settings.scale_actuator, settings, Registry(broker)),
            name=f"{socket.gethostname()}:{os.getpid()}",
            actuator_name=settings.scale_actuator,
            liveness=settings.liveness,
        )
        answers = health.answers(lambda: controller.standing)
        server = Server(settings.controller_address, settings.controller_port, answers)
    except SettingsError as error:
        exit_misconfigured(error)
    except OSError as error:
        place = f"CONTROLLER_ADDRESS={settings.controller_address} CONTROLLER_PORT={settings.controller_port}"
        exit_misconfigured(SettingsError([f"{place}: {error.strerror}"]))
    rounds = Periodic("controller", controller.round, ROUND_S)
    server.start()
    rounds.start()
    signal.sigwait(_STOPPING)
    server.stop()
    if rounds.stop():
        try:
            controller.stop()
        except BrokerUnavailable as error:
            log.warning("leadership left to expire", error=str(error))


if __name__ == "__main__":
    main(current())
