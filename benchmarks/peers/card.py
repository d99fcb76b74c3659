"""The NVIDIA card that processes use as cuda:0, as nvidia-smi tells of it."""

import os
import subprocess
import tempfile
from typing import Self

EVERY_MS = 100


def environment() -> dict[str, str]:
    """CUDA numbers cards as nvidia-smi does."""
    return os.environ | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def command(field: str) -> list[str]:
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"
    return ["nvidia-smi", f"--id={first}", f"--query-gpu={field}", "--format=csv,noheader,nounits"]


def query(field: str) -> str | None:
    """None where there is no nvidia-smi, or no card."""
    try:
        done = subprocess.run(command(field), capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class MemoryWatch:
    """The most memory that all of the card held while it was entered, less what it held before.

    `peak_bytes` is None where nvidia-smi tells nothing. Of a process alone it would be found by the
    process's number, which a container does not know.
    """

    def __init__(self) -> None:
        self.peak_bytes: int | None = None

    def __enter__(self) -> Self:
        self.before = query("memory.used")
        self.samples = tempfile.TemporaryFile("w+")
        self.process = None
        if self.before is not None and self.before.isdigit():
            words = [*command("memory.used"), f"--loop-ms={EVERY_MS}"]
            self.process = subprocess.Popen(
                words, stdout=self.samples, stderr=subprocess.DEVNULL, text=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.samples.seek(0)
            lines = self.samples.read().split("\n")[:-1]  # the last may be cut short
            mebibytes = [int(line) for line in lines if line.strip().isdigit()]
            if mebibytes:
                self.peak_bytes = max(0, max(mebibytes) - int(self.before)) * 2**20
        self.samples.close()
