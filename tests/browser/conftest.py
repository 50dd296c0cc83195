"""A real JupyterLab, and a real browser in front of it.

Without chromium these tests are skipped, unless SKVIZ_BROWSER=1 says that they must run.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")
# Without this JupyterLab asks in a pop-up whether it may fetch news.
QUIET = '{"fetchNews": "false", "checkForUpdates": false}'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM or os.environ.get("SKVIZ_BROWSER"):
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="chromium is not installed"))


def barriers(page: Page) -> list[str]:
    """What axe-core says keeps people out of the explorer, and where it is."""
    found = Axe().run(page, context={"include": [[".skviz"]]}).response
    assert found["passes"], "axe looked at nothing"
    return [f"{one['id']}: {one['nodes'][0]['html'][:80]}" for one in found["violations"]]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Lab"]:
    home = tmp_path_factory.mktemp("lab")
    started = Lab(home)
    yield started
    started.stop()


class Lab:
    """A JupyterLab of its own, with notebooks in its folder."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "work"
        self.folder.mkdir()
        settings = home / "settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text(QUIET)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.token = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{port}"
        # Kernels may keep their bytecode: torch takes long to compile anew.
        own = {"PYTHONDONTWRITEBYTECODE": ""}
        for name in ("CONFIG", "DATA", "RUNTIME"):
            own[f"JUPYTER_{name}_DIR"] = str(home / name.lower())
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.log = (home / "lab.log").open("w")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
                "--expose-app-in-browser", f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1",
                "--ServerApp.port_retries=0", f"--IdentityProvider.token={self.token}",
                f"--ServerApp.root_dir={self.folder}",
                f"--LabApp.user_settings_dir={home / 'settings'}",
                f"--LabApp.workspaces_dir={home / 'workspaces'}",
            ],
            env={**os.environ, **own, "IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": path},
            stdout=self.log, stderr=subprocess.STDOUT, cwd=self.folder,
        )  # fmt: skip
        self._await()

    def _await(self) -> None:
        until = time.monotonic() + 180
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/api?token={self.token}", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        self.stop()
        raise RuntimeError(f"JupyterLab did not start; see {self.log.name}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()

    def notebook(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells into its folder; return its name."""
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        # Without all of this JupyterLab asks which kernel is meant.
        made.metadata["kernelspec"] = {
            "name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python",
        }  # fmt: skip
        made.metadata["language_info"] = {"name": "python"}
        nbformat.write(made, self.folder / name)
        return name

    def open(self, browser: Browser, name: str, *, height: int = 1000) -> "Notebook":
        """Open a notebook in a tab of its own and wait for its kernel."""
        return Notebook(self, browser, name, height)


class Notebook:
    """One notebook in a tab of its own, which notes every address that it asks for."""

    def __init__(self, lab: Lab, browser: Browser, name: str, height: int) -> None:
        self.context = browser.new_context(
            viewport={"width": 1500, "height": height}, accept_downloads=True
        )
        self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=lab.url)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.sent: list[bytes | str] = []  # to the kernel
        self.page.on(
            "websocket",
            lambda socket: socket.on("framesent", lambda frame: self.sent.append(frame)),
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{lab.url}/lab/tree/{name}?token={lab.token}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        # A cell run before the kernel is there makes JupyterLab ask for one.
        self.page.evaluate(
            "window.jupyterapp.shell.currentWidget.sessionContext.ready.then(() => 0)"
        )

    def run(self, *numbers: int, wait: bool = True) -> None:
        """Run code cells by number (of all code cells), one after the other."""
        self.page.evaluate(
            """async ([numbers, wait]) => {
                const panel = window.jupyterapp.shell.currentWidget;
                const cells = panel.content.widgets.filter((c) => c.model.type === "code");
                for (const number of numbers) {
                    panel.content.activeCellIndex = panel.content.widgets.indexOf(cells[number]);
                    await panel.content.scrollToItem(panel.content.activeCellIndex);
                    const run = window.jupyterapp.commands.execute("notebook:run-cell");
                    if (wait) await run;
                }
            }""",
            [list(numbers), wait],
        )

    def python(self, code: str, expression: str = "None") -> str:
        """Run code in the kernel beside the notebook; return the repr of an expression after it."""
        reply = self.page.evaluate(
            """async ([code, expression]) => {
                const {kernel} = window.jupyterapp.shell.currentWidget.sessionContext.session;
                const asked = {code, store_history: false, user_expressions: {answer: expression}};
                return (await kernel.requestExecute(asked).done).content;
            }""",
            [code, expression],
        )
        assert reply["status"] == "ok", reply
        answer = reply["user_expressions"]["answer"]
        assert answer["status"] == "ok", answer
        return answer["data"]["text/plain"]

    def close(self) -> None:
        self.context.close()
