"""Takes a picture of a report's first screen, in a real Chromium at a desktop's width.

    python docs/write_picture.py RUN                 of RUN/report.html, to docs/report.png
    python docs/write_picture.py RUN PICTURE.png

RUN is a run's folder, or one that distill wrote. Refuses to leave a picture that is too large for a README.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from promptstill.command.exits import exit_codes
from promptstill.errors import InfrastructureError, UserError

PICTURE = Path(__file__).with_name("report.png")
WIDTH, HEIGHT = 1280, 900
SPARE = 200  # Chromium takes a part of the window's height for itself
COLOURS = 128  # of a page with text and charts nothing is lost, and the file is a third
MOST_BYTES = 300_000
NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def take(page: Path, picture: Path) -> None:
    """Draw `page` and write its first screen as PNG. Raises `UserError` or `InfrastructureError`."""
    if not page.is_file():
        raise UserError(f"{page} does not exist.", "", "Give a folder with a report.html: a run's, or distilled/.")
    with tempfile.TemporaryDirectory(prefix="picture-") as folder:
        screen = Path(folder, "screen.png")
        draw(page, screen, Path(folder, "profile"))
        with Image.open(screen) as whole:
            whole.convert("RGB").crop((0, 0, WIDTH, HEIGHT)).quantize(COLOURS).save(picture, optimize=True)
    size = picture.stat().st_size
    if size > MOST_BYTES:
        picture.unlink()
        raise UserError(f"The picture has {size:,} bytes, more than {MOST_BYTES:,}.", "", "Take it of another report.")


def draw(page: Path, screen: Path, profile: Path) -> None:
    """Chromium's screenshot of a page, in an empty profile."""
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        raise UserError("Chromium is not installed.", "It draws the page.", "On Debian: apt-get install chromium")
    window = f"--window-size={WIDTH},{HEIGHT + SPARE}"
    argv = [chromium, *QUIET, f"--user-data-dir={profile}", window, f"--screenshot={screen}", page.resolve().as_uri()]
    try:
        subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True)
    except subprocess.SubprocessError as error:
        raise InfrastructureError("Chromium could not draw the page.", str(error), f"Open {page} by hand.") from error
    if not screen.is_file():
        raise InfrastructureError("Chromium left no picture.", "", f"Open {page} by hand.")


if __name__ == "__main__":
    with exit_codes():
        if not 2 <= len(sys.argv) <= 3:
            raise UserError("Which report?", "", "Write: python docs/write_picture.py RUN [PICTURE.png]")
        take(Path(sys.argv[1], "report.html"), Path(sys.argv[2]) if len(sys.argv) > 2 else PICTURE)
