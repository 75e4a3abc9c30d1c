"""A virtual environment for each peer, with exactly the packages that its requirements file
pins.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
PACKAGES = {
    "transformer-lens": "transformer-lens",
    "delphi": "eai-delphi",
    "sae-dashboard": "sae-dashboard",
}


def versions(peer: str) -> str:
    """What the peer's figures come from: its own package, torch and transformers."""
    lines = (REQUIREMENTS / f"{peer}.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines)
    return ", ".join(
        f"{package} {pins[package]}" for package in (PACKAGES[peer], "torch", "transformers")
    )


def prepare_environment(peer: str, folder: Path) -> Path:
    """The Python of the peer's environment under `folder`; made anew when it is not there or its
    pins have changed.

    Raises subprocess.CalledProcessError when a package cannot be installed.
    """
    environment, requirements = (folder / peer).absolute(), REQUIREMENTS / f"{peer}.txt"
    python, made_of = environment / "bin/python", environment / "requirements.txt"
    pins = requirements.read_text(encoding="utf-8")
    if made_of.is_file() and made_of.read_text(encoding="utf-8") == pins:
        return python
    print(f"Installing {peer} into {environment} …", file=sys.stderr, flush=True)
    shutil.rmtree(environment, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    install = [
        str(python),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "-q",
        "--no-compile",
    ]
    # torch first, as what it needs depends on the build; of the others the file names every one.
    subprocess.run([*install, "-c", str(requirements), "torch"], check=True, stdout=sys.stderr)
    subprocess.run([*install, "--no-deps", "-r", str(requirements)], check=True, stdout=sys.stderr)
    made_of.write_text(pins, encoding="utf-8")
    return python
