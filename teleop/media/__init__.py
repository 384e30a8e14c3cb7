"""Live pictures and voice: stamps in the picture, H.264, adaptation, freezing, record and replay, WebRTC ends (aiortc).

What decides is pure (`stamp`, `adapt`, `freeze`, `voices`); `encode`, `store`, `rtc` and what drives them are the edges. Nothing
here is on the control path: a dead picture is an alarm, never a motion.
"""
