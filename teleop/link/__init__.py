"""The link between a console and a site: keys, sealed datagrams on two paths, orders over ZeroMQ with CURVE.

`SiteLink` (`teleop.link.site`) is the arm's end, `ConsoleLink` (`teleop.link.console`) the surgeon's; `teleop.link.events`
is what their `poll` returns; `teleop.link.keys` who may talk at all. docs/wire.md describes every byte.
"""
