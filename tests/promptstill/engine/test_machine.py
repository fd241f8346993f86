"""What is read of this machine."""

from __future__ import annotations

from promptstill.engine.machine import this_machine


def test_this_machine_has_a_core_and_memory() -> None:
    machine = this_machine()
    assert machine.cores and 0 < machine.free_gib <= machine.memory_gib
