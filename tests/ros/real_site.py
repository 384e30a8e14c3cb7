"""One hospital started by `longhand up`, as a person would, in folders, a ROS domain and ports of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("arm", "governor", "adapter", "gateway", "case", "recorder")


class UpSite:
    """Context manager. `events` are the records of --json-events so far; `pid(name)` the process of a part."""

    def __init__(self, folder: Path, *, offset: int = 0, **given: str):
        self.domain = 60 + (os.getpid() + offset) % 40
        self.run, self.state = folder / "run", folder / "state"
        self.run.mkdir(parents=True)
        index = 100 + (os.getpid() + offset) % 100
        env = dict(os.environ, LONGHAND_HOME=str(self.state), XDG_RUNTIME_DIR=str(self.run))
        words = [f"site:=t{offset}", f"domain:={self.domain}", f"index:={index}"]
        words += [f"{k}:={v}" for k, v in given.items()]
        self.namespace = f"/t{offset}/arm1"
        self.sockets = self.run / f"longhand-{os.getuid()}" / f"t{offset}"
        self.events: list[dict] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "teleop.cli._main", "up", "--json-events", str(ROOT / "launch" / "hospital.launch.yaml"),
             *words], env=env, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        for line in self.process.stdout:
            print(line, end="")  # pytest shows it with a failure
            with self._news, contextlib.suppress(ValueError):
                self.events.append(json.loads(line))
                self._news.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self) -> int:
        """Ctrl-C, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self._thread.join(10)
        return code

    def wait_for(self, wanted, timeout=150.0):
        """The first event for which `wanted` holds; AssertionError with the log otherwise."""
        seen = 0
        with self._news:
            while True:
                for e in self.events[seen:]:
                    if wanted(e):
                        return e
                seen = len(self.events)
                if not self._news.wait(timeout):
                    raise AssertionError("it did not come:\n" + "\n".join(str(e) for e in self.events[-40:]))

    def wait_ready(self):
        """The governor has passed its self-test."""
        return self.wait_for(lambda e: e["event"] == "line" and "INIT -> READY" in e["text"])

    def pid(self, name):
        return next(e["pid"] for e in self.events if e["event"] == "started" and e["name"] == name)

    def deaths(self):
        return [e for e in self.events if e["event"] == "ended" and not e["expected"]]
