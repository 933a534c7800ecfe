"""The configuration: TOML and the environment in, one frozen `Config` out, every error at once (specs/0007).

Reading it imports no plugin unless a plugin manager is given, and tomllib only if there is a file.
"""

from __future__ import annotations

from wherry.config.loader import check, load, resolve
from wherry.config.model import Add, Config, Daemon, Get, Instance, Limits, Memory, Peering, Serve, Swarm
from wherry.config.problem import ConfigProblems, Problem
from wherry.config.schema import json_schema

__all__ = (
    "Add",
    "Config",
    "ConfigProblems",
    "Daemon",
    "Get",
    "Instance",
    "Limits",
    "Memory",
    "Peering",
    "Problem",
    "Serve",
    "Swarm",
    "check",
    "json_schema",
    "load",
    "resolve",
)
