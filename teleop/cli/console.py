"""`longhand console`: the surgeon's web console, with simulated hospitals or with real ones.

Example:

    longhand console --sites 1 --port 8700
"""

import asyncio
import contextlib
import json as jsonlib
import os
import signal
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

#: How often the judge of the simulated hospitals looks (s).
LOOK_S = 0.1
#: How often what is due is carried between the hospitals' logs (s).
CARRY_S = 0.05

DEVICE_HELP = "master device at this machine: spacemouse, gamepad, or a plugin; repeatable"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(epilog="Example: longhand console --sites 1 --port 8700")
def command(
    sites: Annotated[int, typer.Option(min=0, max=30, help="simulated hospitals to start; 0: plan only")] = 3,
    own_processes: Annotated[int, typer.Option(min=0, help="of these, hospitals with processes of their own; the others share one in wards of ten")] = 3,
    port: Annotated[int, typer.Option(help="port of the console server; 0: any free one")] = 8700,
    host: Annotated[str, typer.Option(help="address to listen on; anything but this machine needs TLS")] = "127.0.0.1",
    tls_cert: Annotated[Path | None, typer.Option(help="certificate (PEM), with --tls-key")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="its key (PEM)")] = None,
    connect: Annotated[Path | None, typer.Option(help="list.json of real hospitals, instead of simulated ones")] = None,
    images: Annotated[list[Path] | None, typer.Option(help="folder with a CT (and labels) to offer; repeatable")] = None,
    surgeon: Annotated[str, typer.Option(help="name of the surgeon whose token is printed")] = "surgeon",
    expert: Annotated[list[str] | None, typer.Option(help="name of a remote expert to make a token for; repeatable")] = None,
    seed: Annotated[int, typer.Option(help="seed of simulated patients, arms and lines")] = 1,
    profile: Annotated[str | None, typer.Option(help="network profile of every simulated line")] = None,
    driver: Annotated[str, typer.Option(help="pybullet (physics) or kinematic (no physics)")] = "pybullet",
    arm: Annotated[str, typer.Option(metavar="NAME|FILE.yaml", help="which arm stands in every simulated hospital")] = "iiwa7",
    doctor: Annotated[str, typer.Option(help="bedside: panel (the page) or scripted")] = "panel",
    device: Annotated[list[str] | None, typer.Option(metavar="NAME|MODULE:FUNCTION[:ARGUMENT]", help=DEVICE_HELP)] = None,
    cameras: Annotated[bool, typer.Option("--cameras/--no-cameras", help="simulated hospitals have cameras")] = True,
    on_call: Annotated[list[str] | None, typer.Option(help="name of an expert on call for consultations; repeatable")] = None,
    roster: Annotated[Path | None, typer.Option(help="TOML file of shifts that says who is on call (docs/scale.md), instead of --on-call")] = None,
    janus: Annotated[Path | None, typer.Option(help="folder of launch/janus.launch.yaml: a video room for many viewers")] = None,
    pager: Annotated[str | None, typer.Option(help="program that is run with NAME and TEXT when an expert on call is wanted")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for plans, images, logs (default: a temporary one)")] = None,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="open the page in a browser")] = True,
    json: Annotated[bool, typer.Option("--json", help="print one JSON line with the addresses")] = False,
) -> None:
    """Start the surgeon's console and, unless told otherwise, simulated hospitals with their bedside pages.

    Ends cleanly on Ctrl-C. Exit codes: 0 ended, 1 error (a port in use, a hospital that does not start).
    """
    from teleop.console.contracts import ConsoleError

    folder = out or Path(tempfile.mkdtemp(prefix="longhand-console-"))
    folder.mkdir(parents=True, exist_ok=True)
    options = Options(folder, sites, port, host, tls_cert, tls_key, connect, list(images or []), surgeon, list(expert or []), seed,
                      profile, driver, arm, doctor, browser and not json, json, list(device or []))  # fmt: skip
    options.cameras, options.on_call, options.pager, options.janus = cameras, list(on_call or []), pager, janus
    if roster is not None and on_call:
        raise typer.BadParameter("give --on-call or --roster, not both", param_hint="--roster")
    options.roster, options.own_processes = roster, own_processes
    try:
        raise typer.Exit(asyncio.run(run(options)))
    except ConsoleError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


class Options:
    """What the command line asks for."""

    cameras: bool = True
    on_call: list[str] = []  # noqa: RUF012  (replaced, never changed)
    pager: str | None = None
    janus: Path | None = None
    roster: Path | None = None
    own_processes: int = 3

    def __init__(
        self, folder: Path, sites: int, port: int, host: str, cert: Path | None, key: Path | None, connect: Path | None,
        images: list[Path], surgeon: str, experts: list[str], seed: int, profile: str | None, driver: str, arm: str, doctor: str,
        browser: bool, json: bool, devices: list[str] | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.sites, self.port, self.host, self.cert, self.key = folder, sites, port, host, cert, key
        self.devices = devices or []
        self.connect, self.images, self.surgeon, self.experts, self.seed = connect, images, surgeon, experts, seed
        self.profile, self.driver, self.arm, self.doctor, self.browser, self.json = profile, driver, arm, doctor, browser, json


def say(words: str) -> None:
    """To whoever started us; a pipe that nobody reads any more ends no hospital."""
    with contextlib.suppress(BrokenPipeError):
        print(words, file=sys.stderr, flush=True)


async def run(o: Options) -> int:
    """Start hospitals, serve, end everything. Raises ConsoleError."""
    from teleop.case.console_log import Actions
    from teleop.console.app import make_app
    from teleop.console.contracts import ConsoleError, Principal, Role
    from teleop.console.hub import Hub
    from teleop.console.native import NativeHands, open_device
    from teleop.console.planner_process import PlannerProcess
    from teleop.console.roster import RosterError
    from teleop.console.serve import bind, check_tls, serve
    from teleop.console.signin import Tokens

    stop = asyncio.Event()

    def end(number: signal.Signals) -> None:
        stop.set()  # first: whoever started us may have gone with the pipe that is spoken into
        say(f"ending, asked by {number.name}")

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)

    check_tls(o.cert, o.key, o.host)
    native = NativeHands([open_device(words) for words in o.devices]) if o.devices else None
    sock = bind(o.host, o.port)
    data = o.folder / "data"
    data.mkdir(mode=0o700, exist_ok=True)
    hospitals = await asyncio.to_thread(Hospitals, o) if o.connect is None and o.sites else None
    listing = o.connect or (hospitals.list_file if hospitals else None)
    links, signer, key_name = sites_of(listing, simulated=hospitals is not None) if listing else ([], None, "")
    folders = {p.name: str(p.resolve()) for p in o.images}
    log, carrier = await asyncio.to_thread(logging_of, listing, links, data, simulated=hospitals is not None)
    hub = Hub(links, PlannerProcess("teleop.console.planning_worker:make", str(data), folders), data, signer)
    if log is not None:
        hub.journal.also = Actions(log, {link.name: link.session for link in links}).took
    hub.native = native
    hub.together.equip(links, o.on_call, o.pager, o.janus)
    hub.together.site_requests.console = key_name or "console"
    if o.roster is not None:
        try:
            hub.together.use_roster(o.roster)
        except RosterError as error:
            raise ConsoleError(str(error)) from None
    tokens = Tokens()
    issued = {o.surgeon: tokens.issue(Principal(o.surgeon, Role.SURGEON, key_name))}
    issued |= {name: tokens.issue(Principal(name, Role.EXPERT)) for name in o.experts}
    put_metrics_token(data / "metrics.token", tokens.issue(Principal("prometheus", Role.VIEWER)))
    tokens.save(data / "tokens.json")
    scheme, shown = "https" if o.cert else "http", "localhost" if o.host == "127.0.0.1" else o.host
    base = f"{scheme}://{shown}:{sock.getsockname()[1]}"
    urls = {name: f"{base}/{'console' if name == o.surgeon else 'consult'}#t={token}" for name, token in issued.items()}
    hosts = frozenset({"localhost", "127.0.0.1", "::1", o.host}) if o.host in ("127.0.0.1", "localhost") else frozenset[str]()
    ended: list[str] = []

    def ready() -> None:
        bedside = hospitals.bedside_urls() if hospitals else {}
        if o.json:
            print(jsonlib.dumps({"console": urls, "bedside": bedside, "folder": str(o.folder)}), flush=True)
        else:
            for name, url in urls.items():
                say(f"console for {name}: {url}")
            for site, url in bedside.items():
                say(f"bedside of {site}: {url}")
            say(f"plans, images and logs: {o.folder}   (Ctrl-C ends everything)")
        if o.browser:
            threading.Thread(target=webbrowser.open, args=(urls[o.surgeon],), daemon=True).start()

    async def watch() -> None:
        assert hospitals is not None
        while True:
            for words in hospitals.poll():
                ended.append(words)
                say(words)
                hub.event("process", words, priority="high")
            await asyncio.to_thread(hospitals.bystander.step, [hospitals.seen(link) for link in links])
            await asyncio.sleep(LOOK_S)

    async def record() -> None:
        while True:
            now = time.monotonic_ns()
            carrier.step(now)
            if log is not None:
                log.step(now, {link.name: link.session.link for link in links})
            await asyncio.sleep(CARRY_S)

    watcher = None
    recorder = asyncio.create_task(record()) if links else None
    try:
        if hospitals is not None:
            if not await asyncio.to_thread(hospitals.start, stop.is_set):
                raise ConsoleError(f"a hospital did not start: see {o.folder}/processes.log")
            watcher = asyncio.create_task(watch())
        await serve(make_app(hub, tokens, data, hosts), sock, o.cert, o.key, ready, stop)
    finally:
        for task in (watcher, recorder):
            if task is not None:
                task.cancel()
        if log is not None:
            await asyncio.to_thread(log.close, "the console was ended")
        if hospitals is not None:
            await asyncio.to_thread(hospitals.end)
            await asyncio.to_thread(hospitals.judge, hub, links, o.folder / "outcome.json")
    return 0


def logging_of(listing: Path | None, links: list[Any], data: Path, *, simulated: bool) -> tuple[Any, Any]:
    """The console's own session log (None without hospitals) and who carries the hospitals' checkpoints between them."""
    from teleop.case.checkpoints import Carrier
    from teleop.case.console_log import log_of_list
    from teleop.console.contracts import ConsoleError
    from teleop.link.errors import LinkError

    if listing is None:
        return None, None
    try:
        plan = jsonlib.loads(listing.read_text())
        log = log_of_list({"log_dir": str(data / "logs"), **plan}, simulated=simulated)
    except (OSError, ValueError, LinkError) as error:
        raise ConsoleError(f"the console's session log cannot be opened: {error}") from None
    return log, Carrier([link.session for link in links], log)


def put_metrics_token(file: Path, token: str) -> None:
    """The scraper's token, readable by us alone (deploy/prometheus/prometheus.yml names the file)."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(token + "\n")


def sites_of(listing: Path, simulated: bool) -> tuple[list[Any], Any, str]:
    """Links to the hospitals of a list.json (made by the demo, or by hand), the signer, and the name of its key."""
    from teleop.case.site_list import sessions_of
    from teleop.console.contracts import ConsoleError
    from teleop.console.live_sites import LinkSite
    from teleop.console.shared_line import SharedLine
    from teleop.console.signing import Signer
    from teleop.link.errors import LinkError

    try:
        plan = jsonlib.loads(listing.read_text())
        sessions, secret = sessions_of(plan)
        out = [
            LinkSite(session, site.get("title", ""), bool(site.get("simulated", simulated)))
            for session, site in zip(sessions, plan["sites"], strict=True)
        ]
        if plan.get("line_mbps"):  # the console's own line, shared by all sites (docs/lines.md)
            shared = SharedLine(float(plan["line_mbps"]))
            for site in out:
                site.line = shared
    except (OSError, KeyError, ValueError, LinkError) as error:
        raise ConsoleError(f"{listing}: cannot connect: {error}") from None
    return out, Signer({plan["console"]: secret}), plan["console"]


class Hospitals:
    """The demo's simulated hospitals, each with its bedside page; the only place here that knows the simulator."""

    def __init__(self, o: Options) -> None:
        from sim.demo.bystander import Bystander
        from sim.demo.camera_processes import camera_processes
        from sim.demo.prepare import prepare
        from sim.demo.processes import processes
        from teleop.launch.plan import Process
        from teleop.launch.runner import Runner

        say(f"laying out {o.sites} simulated hospitals in {o.folder} ...")
        self.demo = prepare(o.folder / "hospitals", o.sites, seed=o.seed, screws_per_site=1, correction=True,
                            profile=o.profile, driver=o.driver, arm_model=o.arm, own=o.own_processes)  # fmt: skip
        self.list_file = self.demo.list_file
        self.bystander = Bystander(self.demo)
        wanted: list[Process] = []
        for p in processes(self.demo):
            last = p.name.rsplit("/", 1)[-1]
            if last == "console" or (last == "doctor" and o.doctor != "scripted"):
                continue
            wanted.append(p)
        pattern = wanted[0]
        self._bedside: dict[str, Path] = {}
        for config in self.demo.configs:
            address = config.run_dir / "bedside.json"
            self._bedside[config.site] = address
            argv = (sys.executable, "-m", "teleop.bedside", "--config", str(self.demo.config_file(config.site)), "--port", "0",
                    "--address-file", str(address))  # fmt: skip
            wanted.append(Process(f"{config.site}/bedside", argv, {}, None, pattern.at))
        if o.cameras:
            wanted += camera_processes(self.demo)
        self.runner = Runner(wanted)
        self._log = (o.folder / "processes.log").open("w", buffering=1)

    def start(self, asked_to_end: Callable[[], bool]) -> bool:
        """Start everything and wait for the bedside pages, or until somebody asks to end; False when one died on the way."""
        self.runner.start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not asked_to_end():
            if self.poll():
                return False
            if all(path.exists() for path in self._bedside.values()):
                return True
            time.sleep(0.1)
        return asked_to_end()

    def bedside_urls(self) -> dict[str, str]:
        return {site: jsonlib.loads(path.read_text())["url"] for site, path in self._bedside.items() if path.exists()}

    def poll(self) -> list[str]:
        """Write what the processes print to processes.log; a sentence for each one that ended."""
        from teleop.launch.runner import Ended, Line

        out = []
        for event in self.runner.poll(0.0):
            if isinstance(event, Line):
                self._log.write(f"[{event.name}] {event.text}\n")
            elif isinstance(event, Ended):
                out.append(f"{event.name} ended: {event.why}")
                self._log.write(out[-1] + "\n")
        return out

    @staticmethod
    def seen(link: Any) -> Any:
        """What the judge may know of a hospital: what the console was told."""
        from sim.demo.bystander import Seen

        view = link.snapshot()
        case, counts = view.case, view.gov.get("counts") or {}
        return Seen(
            link.name, view.mine, str(view.gov.get("holder") or ""), str(case.get("screw") or ""), str(case.get("screw_step") or ""),
            tuple(case.get("placed") or ()), view.link.get("rtt_ms"), link.ref_T_ct, int(counts.get("holds") or 0),
        )  # fmt: skip

    def judge(self, hub: Any, links: list[Any], file: Path) -> None:
        """Judge the guides by the physics, as the demo does, once everything has ended; nothing when no screw was placed."""
        from rich.console import Console

        if not any(room.judged for room in self.bystander.rooms.values()) and not self.bystander.blind:
            return
        say("judging the guides by the physics ...")
        plans = {}
        for desk in hub.desks.values():
            if desk.transferred is not None and desk.approval is not None:
                plans[desk.transferred["site"]] = {
                    s["id"]: {**s, "side": s.get("side_name") or s["side"]} for s in desk.screws if s["id"] in desk.transferred["screws"]
                }
        outcome = self.bystander.conclude(plans, {link.name: list(link.session.loop_ages_ms) for link in links})
        screen = Console(stderr=True)
        if not screen.is_terminal:
            screen.width = 140
        outcome.print(screen)
        file.write_text(jsonlib.dumps(outcome.to_json(), indent=1) + "\n")

    def end(self) -> None:
        """End all children, clean sockets and shared memory."""
        import shutil

        from teleop.launch import shm

        self.runner.stop()
        deadline = time.monotonic() + 20
        while not self.runner.finished and time.monotonic() < deadline:
            self.poll()
            time.sleep(0.05)
        if not self.runner.finished:
            self.runner.kill()
        self._log.close()
        shutil.rmtree(self.demo.run, ignore_errors=True)
        shm.clean()
