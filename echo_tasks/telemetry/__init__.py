"""Every metric of the farm, by its Prometheus name, a file a room: a process has those of the rooms that it enters.

Label values are bounded: routes, not paths. Units are base units, and the last word of a name but `_total`.
"""
