"""The session log: one signed, hash-chained MCAP file per site that answers who held control and why it stopped.

    SessionLog (writer)  verify (verify)  Reader (reader)  TypeStore (cdr: messages <-> CDR bytes)
"""

from safety.log.session import SessionInfo
from safety.log.verify import NotALog, Report, verify
from safety.log.writer import LogError, LogFull, SessionLog

__all__ = ["LogError", "LogFull", "NotALog", "Report", "SessionInfo", "SessionLog", "verify"]
