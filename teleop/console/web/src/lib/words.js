// Codes of the kernel and the case as English words; everything else is already words.
export const WORDS = {
  selected: "Selected", approach: "Approach", stand_off: "Stand-off", advance: "Advance", verified: "Verified", confirmed: "Confirmed", placed: "Placed",
  images: "Images received", approved: "Plan approved", transferred: "Plan at the hospital", registered: "Registered", time_out: "Time-out done", qualified: "Line qualified",
  goal: "Goal", servo: "Servo", jog: "Jog", rehearsal: "Rehearsal", standstill: "Standing", moving: "Moving", parked: "Parked", stopping: "Stopping", fault: "Fault",
  NO_SAFE_SCREW: "No safe screw", NO_SAFE_PATH: "No safe path", NO_PEDICLE: "No pedicle", PARTIAL: "Cut off by the image", METAL: "Metal", BAD_GEOMETRY: "Bad geometry", LOW_CONFIDENCE: "Low confidence", DRAFT: "Draft, not verified",
  focus: "the window lost the focus", hidden: "the page was hidden", page: "the page was left", pointer: "the pointer was lost", unplugged: "the device was unplugged", network: "the connection broke", changed: "something else was chosen", stop: "stop",
  silence: "the page fell silent", old_sample: "the page was too slow", page_gone: "the page was closed", hold: "the arm is in HOLD", local: "the bedside has the arm", grant: "control was granted anew", pause: "the arm paused", malformed: "malformed",
  disabled: "Hand off", aligning: "Ready: press the deadman", engaged: "The guide follows the hand", clutched: "Clutched: the hand moves, the arm does not", "waiting for release": "Release, then press again", keyboard: "keys", gamepad: "gamepad", spacemouse: "SpaceMouse", xr: "headset or phone",
  "tremor filter": "tremor filter", "axis guide": "planned axis", cone: "cone to the entry", "forbidden zone": "forbidden zone", "forbidden side": "forbidden side", "axis lock": "axis lock", "speed and jerk limit": "speed and jerk limit", leash: "leash: the hand is faster than the arm may be", "axis admittance": "push along the axis",
  surgeon: "surgeon", expert: "expert", viewer: "viewer", bedside: "bedside", datagrams: "datagrams", tcp: "TCP fall-back",
  accepted: "accepted", declined: "declined", images_word: "images",
};
