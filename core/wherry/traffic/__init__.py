"""Bandwidth: what of a limited link the node, its classes, transfers and peers may use (specs/0026).

`Plan` says what is asked, `Traffic` keeps to it and hands out flows (`wherry.flow.Flow`). What decides is pure, and takes times
as arguments: `wherry.traffic.tree` (buckets and turns), `wherry.traffic.ledbat` (background traffic), `wherry.traffic.plan`.
"""

from __future__ import annotations

from wherry.traffic.plan import CLASSES, SHARES, ClassName, ClassPlan, Pair, Plan, Row, plan_of
from wherry.traffic.report import LevelReport, Motion, TrafficReport, TransferReport
from wherry.traffic.traffic import SERVING, Traffic

__all__ = (
    "CLASSES",
    "SERVING",
    "SHARES",
    "ClassName",
    "ClassPlan",
    "LevelReport",
    "Motion",
    "Pair",
    "Plan",
    "Row",
    "Traffic",
    "TrafficReport",
    "TransferReport",
    "plan_of",
)
