"""What can go wrong in the link, as exceptions whose text says what, where, and what to do."""


class LinkError(RuntimeError):
    """Anything the link refuses to do; the text is meant for people."""


class KeyRefused(LinkError):
    """A key, a role table or a secret file that must not be used."""


class PortInUse(LinkError):
    """A local port somebody else listens on; the text names the port and, where the system tells, the process."""


class VersionTooOld(LinkError):
    """libzmq older than the first release without known holes in CURVE."""


class BadMessage(LinkError):
    """Bytes from the network that are not what the protocol (docs/wire.md) says. Never contains the bytes."""
