"""The demo as a process, and what a person does with its page in a browser."""

import base64
import contextlib
import dataclasses
import io
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

import numpy as np
from PIL import Image

from tests.support import commands

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox"]  # Containers run as root, where Chromium's sandbox refuses to start.
_START_SECONDS = 180


@dataclasses.dataclass(frozen=True)
class Demo:
    """A running demo: where its page is, its process, and its folder, with uploads and temporary files."""

    address: str
    process: subprocess.Popen
    folder: pathlib.Path

    def memory(self) -> float:
        """Returns the resident memory in MB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024


@contextlib.contextmanager
def demo(*arguments):
    """Runs `python -m experiments.demo` on a free port until it says that the page is there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "experiments.demo", "--port", port, *arguments]
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "temporary").mkdir()
        log = folder / "log.txt"
        environment = os.environ | {
            "PYTHONPATH": str(commands.ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "GRADIO_TEMP_DIR": str(folder / "uploads"),
            "TMPDIR": str(folder / "temporary"),
        }
        with log.open("w") as file:
            process = subprocess.Popen(
                list(map(str, command)), cwd=commands.ROOT, env=environment, stdout=file, stderr=file
            )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        yield Demo(_address(process, log), process, folder)


def _address(process, log):
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if found := re.search(r"^Open (\S+)$", log.read_text(), re.MULTILINE):
            return found.group(1)
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(f"No page after {_START_SECONDS} s: {log.read_text()}")


@contextlib.contextmanager
def watched_page(browser, address):
    """Opens a page; at the end, fails for errors on the console and requests to other hosts."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    faults = []
    host = urllib.parse.urlsplit(address).netloc

    def look_at(request):
        url = urllib.parse.urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.netloc != host:
            faults.append(f"request to {request.url}")

    page.on("request", look_at)
    page.on("pageerror", lambda error: faults.append(f"error {error}"))
    page.on("console", lambda message: message.type == "error" and faults.append(f"console {message.text}"))
    page.goto(address)
    yield page
    page.close()
    assert not faults, faults


def open_tab(page, name: str):
    """Clicks a tab, and returns what is in it."""
    page.get_by_role("tab", name=name, exact=True).click()
    panel = page.locator(f"[role=tabpanel]:has(#{name.lower()}-{LANDMARKS[name]})")
    panel.locator("img").first.wait_for()
    return panel


# A component of each tab, by the second half of its id.
LANDMARKS = {"Sample": "grid", "Mix": "result", "Manipulate": "result", "Explain": "bits"}


def images(block) -> np.ndarray:
    """Returns the pixels of the images in a block of the page, uint8 [N, H, W]."""
    return np.stack([_pixels(url) for url in _urls(block)])


def _urls(block):
    return block.locator("img").evaluate_all("images => images.map(image => image.src)")


def _pixels(url):
    assert url.startswith("data:image/png;base64,"), url[:80]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))))


def after(block, action, timeout: float = 60.0) -> np.ndarray:
    """Does something, waits until the images in a block are others, and returns their pixels."""
    before = _urls(block)
    action()
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        now = _urls(block)
        if now and now != before:
            return np.stack([_pixels(url) for url in now])
        block.page.wait_for_timeout(20)
    raise AssertionError("The images have not changed.")


def slider(panel, label: str):
    """Returns the handle of a slider."""
    return panel.get_by_role("slider", name=f"range slider for {label}", exact=True)


def upload(panel, button: str, file) -> None:
    """Uploads a file by a button."""
    with panel.page.expect_file_chooser() as chooser:
        panel.get_by_role("button", name=button, exact=True).click()
    chooser.value.set_files(file)


def sentence(panel, role: str) -> str:
    """Waits for a sentence about an upload, role "status" or, for a refusal, "alert"; returns it."""
    note = panel.locator(f".note[role={role}]:not(:empty)")
    note.wait_for()
    return note.inner_text()
