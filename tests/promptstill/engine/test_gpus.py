"""What is read of `nvidia-smi`, whose real outputs a script prints here, and of CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from promptstill.engine.gpus import SLICE_SHARE, Gpu, visible_gpus

A, B = "GPU-5c89852c-d268-c3f3-1b07-005d5ae1dc3f", "GPU-5d6f1b2a-8b3e-0a57-7f4e-1f8f3f6d2c11"
TWO = f"0, {A}, 81559, 81004\n1, {B}, 81559, 40000\n"
TWO_LISTED = f"GPU 0: NVIDIA H100 80GB HBM3 (UUID: {A})\nGPU 1: NVIDIA H100 80GB HBM3 (UUID: {B})\n"
SPARK = f"0, {A}, [N/A], [N/A]\n"
SPARK_LISTED = f"GPU 0: NVIDIA GB10 (UUID: {A})\n"
SLICES = ("MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb")
DIVIDED = f"0, {A}, 40960, 40537\n"
DIVIDED_LISTED = f"""\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: {A})
  MIG 3g.20gb     Device  0: (UUID: {SLICES[0]})
  MIG 1c.2g.10gb  Device  1: (UUID: {SLICES[1]})
"""
OLD_SLICE = f"MIG-{A}/2/0"
OLD_LISTED = f"GPU 0: A100-PCIE-40GB (UUID: {A})\n  MIG 4g.20gb Device 0: (UUID: {OLD_SLICE})\n"
MIXED_LISTED = f"""\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: {A})
  MIG 1g.10gb+me  Device  0: (UUID: {SLICES[0]})
GPU 1: NVIDIA A100-SXM4-80GB (UUID: {B})
"""


class NvidiaSmi:
    """A script of that name, first on PATH, which answers the two questions that are asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def prints(self, table: str, listed: str, visible: str | None = None, code: int = 0) -> tuple[Gpu, ...]:
        (self.folder / "table").write_text(table)
        (self.folder / "listed").write_text(listed)
        script = self.folder / "nvidia-smi"
        question = "--query-gpu=index,uuid,memory.total,memory.free --format=csv,noheader,nounits"
        script.write_text(f"""#!/bin/sh
case "$*" in
  -L) cat '{self.folder}/listed' ;;
  "{question}") cat '{self.folder}/table' ;;
  *) echo "unexpected: $*" >&2; exit 2 ;;
esac
exit {code}
""")
        script.chmod(0o755)
        if visible is not None:
            self.monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        return visible_gpus(120.0, 90.0)


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvidiaSmi:
    return NvidiaSmi(tmp_path, monkeypatch)


def test_memory_is_in_gib(smi: NvidiaSmi) -> None:
    assert smi.prints(TWO, TWO_LISTED) == (Gpu(81559 / 1024, 81004 / 1024, A), Gpu(81559 / 1024, 40000 / 1024, B))


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("", []), ("-1", []), ("NoDevFiles", []), ("0", [A]), ("1", [B]), ("1,0", [B, A]), (" 1 , 0 ", [B, A]),
        ("0,-1,1", [A]), ("2,0", []), ("0,2,1", [A]), ("0,0,1", [A]),
        (B, [B]), (f"{B},{A}", [B, A]), ("GPU-5d6f", [B]), ("GPU-5", []), (f"{A},GPU-0000", [A]), (f"1,{A}", [B, A]),
        (SLICES[0], []),
    ],
)  # fmt: skip
def test_cuda_visible_devices_is_read_as_cuda_reads_it(smi: NvidiaSmi, visible: str, seen: list[str]) -> None:
    assert [gpu.uuid for gpu in smi.prints(TWO, TWO_LISTED, visible)] == seen


@pytest.mark.parametrize("word", ["[N/A]", "[Not Supported]", "[Unknown Error]"])
def test_a_gpu_that_tells_no_memory_shares_the_machines(smi: NvidiaSmi, word: str) -> None:
    assert smi.prints(f"0, {A}, {word}, {word}\n", SPARK_LISTED) == (Gpu(120.0, 90.0, A),)


def test_without_permission_all_memory_counts_as_free(smi: NvidiaSmi) -> None:
    [gpu] = smi.prints(f"0, {A}, 81559, [Insufficient Permissions]\n", TWO_LISTED)
    assert gpu.free_gib == gpu.memory_gib == 81559 / 1024


@pytest.mark.parametrize(
    ("visible", "seen"),
    [(None, [SLICES[0]]), ("0", [SLICES[0]]), (A, [SLICES[0]]), (SLICES[1], [SLICES[1]]), (SLICES[1][:12], [])],
)
def test_of_mig_slices_one_is_shown(smi: NvidiaSmi, visible: str | None, seen: list[str]) -> None:
    found = smi.prints(DIVIDED, DIVIDED_LISTED, visible)
    assert [gpu.uuid for gpu in found] == seen
    sizes = dict(zip(SLICES, (20 * SLICE_SHARE, 10 * SLICE_SHARE), strict=True))
    assert [gpu.memory_gib for gpu in found] == [sizes[uuid] for uuid in seen]


def test_older_drivers_name_slices_by_their_gpu(smi: NvidiaSmi) -> None:
    [gpu] = smi.prints(DIVIDED, OLD_LISTED, OLD_SLICE)
    assert (gpu.uuid, gpu.memory_gib) == (OLD_SLICE, 20 * SLICE_SHARE)


def test_a_divided_gpu_beside_a_whole_one(smi: NvidiaSmi) -> None:
    assert [gpu.uuid for gpu in smi.prints(TWO, MIXED_LISTED)] == [B]
    assert [gpu.uuid for gpu in smi.prints(TWO, MIXED_LISTED, "0")] == [SLICES[0]]
    assert [gpu.uuid for gpu in smi.prints(TWO, MIXED_LISTED, f"{B},{SLICES[0]}")] == [SLICES[0]]


def test_a_gpu_that_has_failed_is_left_out(smi: NvidiaSmi) -> None:
    lost = "Unable to determine the device handle for GPU0000:0B:00.0: Unknown Error\n"
    assert [gpu.uuid for gpu in smi.prints(lost + TWO, TWO_LISTED)] == [A, B]


def test_a_driver_that_does_not_answer_is_no_gpu(smi: NvidiaSmi) -> None:
    message = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
    assert smi.prints(message, message, code=9) == ()


def test_without_a_driver_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus(1.0, 1.0) == ()
