"""The surgeon's console: a web application served on the surgeon's own machine (see docs/console.md).

The browser never talks to a hospital: it talks to this server, and this server talks to the hospitals through
`teleop.link`. `contracts` says what the rest of the stack must offer (sites, planning); `app` is the web face; `hub`
joins them.
"""
