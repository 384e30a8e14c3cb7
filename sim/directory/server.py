"""A nats-server for the directory: configuration from the role table, start, reload, end.

A site's Ed25519 key, which it has anyway, *is* its NATS identity (nkeys are Ed25519): one key ceremony, one revocation. A site may write its own
presence and nothing else; a person may read; nobody but the keeper may make or delete a bucket.
"""

import base64
import binascii
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from teleop.link.keys import Roles, SecretKeys

BUCKET = "presence"
STREAM = f"KV_{BUCKET}"
SUBJECT = f"$KV.{BUCKET}"
_USER_PREFIX = 20 << 3


def nkey(ed25519_public_hex: str) -> str:
    """The public key as NATS writes it: prefix byte, key, CRC-16/XMODEM little-endian, in base32."""
    body = bytes([_USER_PREFIX]) + bytes.fromhex(ed25519_public_hex)
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).decode().rstrip("=")


class KeyedClient(Client):
    """A client that answers the server's nonce with a principal's own key."""

    def __init__(self, keys: SecretKeys) -> None:
        super().__init__()
        self._public_nkey = nkey(keys.ed25519_public)
        self._key = keys.signer()
        self.inbox = f"_INBOX_{keys.name}"

    async def open(self, url: str, **options: Any) -> "KeyedClient":
        def sign(nonce: str) -> bytes:
            return base64.b64encode(self._key.sign(nonce.encode()))

        await self.connect(url, signature_cb=sign, inbox_prefix=self.inbox.encode(), **options)
        return self


def configuration(roles: Roles, keeper: str, port: int, store: Path) -> str:
    """nats-server's configuration for the principals of a role table; revoked keys are left out. `keeper`: a person's name."""
    users = []
    for p in roles.principals.values():
        if p.curve in roles.revoked:
            continue
        inbox = f"_INBOX_{p.name}.>"
        if p.name == keeper:
            may = '{publish: ">", subscribe: ">"}'
        elif p.kind == "site":
            may = f'{{publish: ["{SUBJECT}.{p.name}"], subscribe: ["{inbox}"]}}'
        else:
            read = [f"$JS.API.STREAM.INFO.{STREAM}", f"$JS.API.CONSUMER.CREATE.{STREAM}", f"$JS.API.CONSUMER.CREATE.{STREAM}.>",
                    f"$JS.API.CONSUMER.INFO.{STREAM}.>", f"$JS.API.CONSUMER.DELETE.{STREAM}.>", f"$JS.FC.{STREAM}.>"]  # fmt: skip
            may = f'{{publish: [{", ".join(repr(r) for r in read)}], subscribe: ["{inbox}"]}}'
        users.append(f'    {{nkey: {nkey(p.ed25519)}, permissions: {may}}}')
    return (
        f'listen: "127.0.0.1:{port}"\nmax_connections: 4096\nmax_payload: 4096\nping_interval: "10s"\nping_max: 2\n'
        f'jetstream {{store_dir: "{store}", max_mem: 64M, max_file: 256M}}\n'
        "authorization {\n  timeout: 10\n  users: [\n" + "\n".join(users) + "\n  ]\n}\n"
    )


class Server:
    """One nats-server on the loopback. `start` waits until it listens. Raises RuntimeError when there is none to start."""

    def __init__(self, folder: Path, roles: Roles, keeper: str) -> None:
        self.folder, self.keeper = folder, keeper
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = int(s.getsockname()[1])
        self.url = f"nats://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.write(roles)

    def write(self, roles: Roles) -> None:
        (self.folder / "nats.conf").write_text(configuration(roles, self.keeper, self.port, self.folder / "store"))

    def start(self) -> None:
        program = shutil.which("nats-server") or shutil.which("/usr/sbin/nats-server")
        if program is None:
            raise RuntimeError("no nats-server (Debian, Ubuntu: apt install nats-server)")
        with (self.folder / "nats.log").open("ab") as log:
            self.process = subprocess.Popen([program, "-c", str(self.folder / "nats.conf")], stdout=log, stderr=log)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"nats-server ended: {(self.folder / 'nats.log').read_text()[-500:]}")
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("nats-server does not listen")

    def reload(self, roles: Roles) -> None:
        """A changed role table: revoked keys lose their connections at once."""
        self.write(roles)
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """As a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
