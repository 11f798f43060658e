"""Drive a headless Chromium through its debugging pipe: pages, scripts, keys."""

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """The path of a Chromium on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def axe_core() -> str | None:
    """The source of axe-core, from the extra ``browser``; None if that is not installed."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")


class Page:
    """One tab. Errors that the page logs are collected in ``errors``."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = os.fdopen(requests, "wb"), os.fdopen(answers, "rb")
        self._number = 0
        self._buffer = b""
        self._session: str | None = None
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._requests.write(json.dumps(message).encode() + b"\0")
        self._requests.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def open(
        self, page: Path | str, *, width: int = 1280, height: int = 900, dark: bool = False
    ) -> None:
        """Load a local file or an address and wait until it has settled."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        self.run(
            "new Promise(done => document.readyState === 'complete' ? done() : "
            "addEventListener('load', done))"
        )
        self.run("new Promise(done => setTimeout(done, 400))")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def violations(self, axe: str) -> list[str]:
        """What ``axe``, the source of axe-core, finds wrong: rule, impact and the elements."""
        self.run(f"{axe}; null")
        found = self.run(
            "axe.run(document, {resultTypes: ['violations']}).then((result) => "
            "result.violations.map((v) => `${v.id} (${v.impact}): `"
            " + v.nodes.map((n) => n.html.slice(0, 200)).join(', ')))"
        )
        return [str(violation) for violation in found]

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Press (``mousePressed``), release or move the pointer to a point of the window."""
        buttons = {"button": "left", "buttons": 1, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **buttons)

    def key(self, name: str) -> None:
        """Press a key such as ``ArrowRight``."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._answers.fileno(), 1 << 16)
            if not piece:
                raise RuntimeError("the browser has ended")
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\0", 1)
        answer = dict(json.loads(line))
        if answer.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(answer["params"]["exceptionDetails"]))
        if answer.get("method") == "Log.entryAdded":
            self.errors.append(str(answer["params"]["entry"]["text"]))
        return answer


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with a fresh profile folder, ended with the block."""
    program = chromium()
    assert program
    requests, ours = os.pipe()
    answers, theirs = os.pipe()

    def pipes() -> None:
        # The browser reads commands from 3 and writes answers to 4; copies first, lest they clash.
        read, write = os.dup(requests), os.dup(theirs)
        os.dup2(read, 3)
        os.dup2(write, 4)

    process = subprocess.Popen(
        [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            "--hide-scrollbars",
        ],
        preexec_fn=pipes,
        pass_fds=(requests, theirs, 3, 4),
        stderr=subprocess.DEVNULL,
    )
    os.close(requests)
    os.close(theirs)
    try:
        yield Page(ours, answers)
    finally:
        process.terminate()
        process.wait(timeout=20)
