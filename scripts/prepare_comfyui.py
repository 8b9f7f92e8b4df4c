"""Install what the real-server and browser tests need beside a ComfyUI checkout, as far as package managers
can.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from comfyui_checkouts import HINT, checkouts, chromium, version


def main() -> None:
    """Requirements of every checkout, and Chromium where the system's package manager may install it."""
    found = checkouts()
    if not found:
        print(HINT)
        return
    uv = os.path.join(os.path.dirname(sys.executable), "uv")
    for checkout in found:
        print(f"Installing the requirements of ComfyUI {version(checkout)}")
        requirements = str(checkout / "requirements.txt")
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", sys.executable, "-r", requirements], check=True
        )
    if chromium() is None and shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        print("Installing Chromium and fonts")
        for command in (["update"], ["install", "-y", "chromium", "fonts-noto-cjk"]):
            subprocess.run(
                ["apt-get", "-qq", *command],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )


if __name__ == "__main__":
    main()
