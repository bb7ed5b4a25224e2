"""Flower's configuration: all that `celery -A echo_tasks flower` needs. Options on its command line win.

Flower runs this file after it has read its FLOWER_* variables by itself: what is not named here it has from those.
"""

from echo_tasks.errors import SettingsError, exit_misconfigured
from echo_tasks.flower_access import access
from echo_tasks.settings import current

_settings = current()

try:
    _access = access(_settings)
    if _settings.flower_persistent:  # in a pickle: whoever could write it could run code as we do
        _settings.flower_history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
except SettingsError as error:
    exit_misconfigured(error)
except OSError as error:
    exit_misconfigured(SettingsError([f"Flower keeps what it knows in {_settings.flower_history}: {error.strerror}"]))

address = _settings.flower_address
port = _settings.flower_port
url_prefix = _settings.flower_url_prefix
read_only = _settings.flower_read_only

basic_auth = _access.users
auth = _settings.flower_auth or ""
auth_provider = _settings.flower_auth_provider
oauth2_key = _settings.flower_oauth2_key
oauth2_secret = _access.oauth2_secret
oauth2_redirect_uri = _settings.flower_oauth2_redirect_uri

persistent = _settings.flower_persistent
db = str(_settings.flower_history.resolve())
state_save_interval = _settings.flower_state_save_interval
max_tasks = _settings.flower_max_tasks
max_workers = _settings.flower_max_workers
purge_offline_workers = _settings.flower_purge_offline_workers
