"""Where a site is: its name, its pinned key, and the addresses of its paths."""

from dataclasses import dataclass

FIRST_RELAY_OFFSET = 50


@dataclass(frozen=True, slots=True)
class PathAddress:
    """One way to a site (one line, one provider): TCP ports of orders and stop, UDP port of the stream."""

    host: str
    orders: int
    stop: int
    stream: int


@dataclass(frozen=True, slots=True)
class SiteEndpoint:
    """Everything a console must know to reach a site. `server_key`: the site's CURVE public key (z85), pinned."""

    site: str
    server_key: str
    paths: tuple[PathAddress, ...]


def site_ports(base: int) -> tuple[int, int, tuple[int, int]]:
    """(orders, stop, (stream of path 0, stream of path 1)) of a site whose block of ports starts at `base`."""
    return base, base + 1, (base + 2, base + 3)


def direct_endpoint(site: str, server_key: str, base: int, host: str = "127.0.0.1") -> SiteEndpoint:
    """The site's own ports, two datagram paths, orders over two connections to the same port."""
    orders, stop, streams = site_ports(base)
    return SiteEndpoint(site, server_key, tuple(PathAddress(host, orders, stop, s) for s in streams))


def relay_endpoint(site: str, server_key: str, relay_base: int, host: str = "127.0.0.1") -> SiteEndpoint:
    """Through an emulated WAN (`sim.network.relay`): path 0 on ports +0 +1 +2, path 1 on ports +4 +5 +3 of `relay_base`."""
    return SiteEndpoint(
        site,
        server_key,
        (
            PathAddress(host, relay_base, relay_base + 1, relay_base + 2),
            PathAddress(host, relay_base + 4, relay_base + 5, relay_base + 3),
        ),
    )
