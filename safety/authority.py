"""Who may move the arm: a fencing epoch, issued by the arm's own side, leased, renewed by valid commands. Pure.

Every grant and every take-over takes a new epoch; a command of any other epoch, or of another key, is refused.
Epochs come from a block which the edge has persisted *before* the first of them is used (`safety.epochs`), so that a
restart can never issue one again. Bedside first: `take_over` always succeeds and fences everybody. Remote to remote
only
while the arm stands (`still`), with the request of the new one, the release of the old one (or its suspension, or its
absence), and the bedside's grant. A holder whose lease ran out is *suspended*: it may resume in its epoch until another
grant, a stop or a take-over. Same shape as Kleppmann's fencing tokens.
"""

from dataclasses import dataclass, replace

from safety.states import Reason

#: The local CRTK principal and the on-site doctor: names, not keys; the edge lets only on-site peers use them.
LOCAL = "local"
BEDSIDE = "bedside"
_MAX_REQUESTS = 4


@dataclass(frozen=True, slots=True)
class Authority:
    """epoch: the newest one issued (0 before any). epoch_end: last one of the persisted block. holder: key or ""."""

    epoch: int
    epoch_end: int
    holder: str = ""
    suspended: bool = False
    expires: int = 0
    bedside_has_it: bool = False
    requests: tuple[str, ...] = ()
    successor: str = ""


def request(auth: Authority, key: str) -> Authority:
    """`key` asks for control. Keeps the newest few; asking moves nothing."""
    if key in auth.requests:
        return auth
    return replace(auth, requests=(*auth.requests, key)[-_MAX_REQUESTS:])


def grant(auth: Authority, holder: str, now: int, ttl: int, *, still: bool) -> tuple[Authority, str]:
    """The bedside (or `enable` of the local principal) gives control. Returns the refusal in words, "" when granted."""
    if auth.bedside_has_it:
        return auth, "the bedside has the arm: return it first"
    if not still:
        return auth, "the arm is in motion or its holder active: hold first"
    if auth.holder not in ("", holder):
        if holder not in auth.requests:
            return auth, "held by another, and this key has not asked for control"
        if not auth.suspended and auth.successor != holder:
            return auth, "held by another: it must release (or be suspended) first"
    if auth.epoch >= auth.epoch_end:
        return auth, "the block of epochs is used up: restart the governor"
    rest = tuple(k for k in auth.requests if k != holder)
    return Authority(auth.epoch + 1, auth.epoch_end, holder, False, now + ttl, False, rest), ""


def release(auth: Authority, key: str, to: str = "") -> tuple[Authority, str]:
    """The holder lets go, or names who shall follow (it keeps the arm, standing, until the bedside grants)."""
    if key != auth.holder or not key:
        return auth, "only the holder can release"
    if to:
        return replace(auth, successor=to), ""
    return replace(auth, holder="", suspended=False, successor=""), ""


def take_over(auth: Authority) -> Authority:
    """The bedside takes the arm. Always succeeds: where no epoch is left, having no holder fences as well."""
    epoch = auth.epoch + 1 if auth.epoch < auth.epoch_end else auth.epoch
    return Authority(epoch, auth.epoch_end, "", False, 0, True)


def return_to_ready(auth: Authority) -> Authority:
    """The bedside gives the arm back to nobody."""
    return replace(auth, bedside_has_it=False)


def fence(auth: Authority) -> Authority:
    """A stop or a revoked key: nobody holds the arm any more; the next grant takes a new epoch."""
    return replace(auth, holder="", suspended=False, successor="", requests=())


def mover(auth: Authority) -> str:
    """Whose commands may move the arm: its holder's; the bedside's while it has the arm; "" nobody's."""
    return BEDSIDE if auth.bedside_has_it else auth.holder


def admits(auth: Authority, key: str, epoch: int, *, fencing: bool = True) -> Reason:
    """May a command of this key, made under this epoch, move the arm? `fencing=False` is for the model check only."""
    if not fencing:
        return Reason.OK
    if epoch != auth.epoch or auth.epoch == 0:
        return Reason.EPOCH
    if key != mover(auth) or not key:
        return Reason.NOT_HOLDER
    return Reason.OK


def renew(auth: Authority, now: int, ttl: int) -> Authority:
    """A valid command of the holder arrived: the lease starts again, a suspended holder resumes."""
    return replace(auth, expires=now + ttl, suspended=False)


def expire(auth: Authority, now: int) -> Authority:
    """Time passes. The local principal is on site and holds by its participant lease, not by commands."""
    if auth.holder and auth.holder != LOCAL and not auth.suspended and now > auth.expires:
        return replace(auth, suspended=True)
    return auth
