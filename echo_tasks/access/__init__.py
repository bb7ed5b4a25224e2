"""Who may ask the farm for what: keys, their scopes, quotas and rates. The broker holds them; no secret is kept."""
