"""Every setting of the farm: read once from the environment, validated, frozen."""

from echo_tasks.settings.kinds import MOST_SLOTS
from echo_tasks.settings.loading import current, load
from echo_tasks.settings.whole import Settings
from echo_tasks.settings.words import allowed, default_of, is_secret, misspelt, redacted

__all__ = ["MOST_SLOTS", "Settings", "allowed", "current", "default_of", "is_secret", "load", "misspelt", "redacted"]
