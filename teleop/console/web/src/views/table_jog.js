// The doctor at the table moves the guide away: one large button back along the guide, six smaller ones; all held to run.
import { attr, disable, h, show, text } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

const WAYS = [["y+", "y +"], ["up", "Up"], ["x+", "x +"], ["y-", "y −"], ["down", "Down"], ["x-", "x −"]];

export function tableJog(deadman) {
  let ready = false;
  const held = (way) => () => (ready ? { site: "table", mode: "jog", way } : null);
  const away = h("button", { id: "jog-away", class: "away" }, h("span", { t: "Away from the patient" }), h("small", { t: "Hold to move, back along the guide" }));
  deadman.bind(away, held("away"));
  const others = WAYS.map(([way, words]) => { const b = h("button", { id: `jog-${way}`, t: words, "data-way": way }); deadman.bind(b, held(way)); return b; });
  const says = h("p", { class: "says", id: "jog-says", role: "status" });
  const hint = h("p", { class: "hint", id: "jog-hint" });
  const root = h("div", { class: "table-jog", id: "table-jog", hidden: true }, away, h("div", { class: "ways" }, ...others), says, hint);
  return {
    root,
    /** on: the table has the arm. dead: no fresh data, or nobody to ask. */
    update({ on, dead, status, hand }) {
      show(root, on);
      ready = on && !dead && !status.table_blocked;
      if (!ready) deadman.release("changed");
      const planned = status.registration_epoch > 0;
      disable(away, !ready);
      for (const b of others) disable(b, !ready || !planned);
      for (const b of [away, ...others]) attr(b, "data-held", deadman.press > 0 && deadman.source === b.id);
      const moving = status.lease_id > 0 && status.v_cap > 0;
      const stopped = deadman.press > 0 && !hand.press; // it is held, but it does not count any more
      text(says, status.table_blocked ? `${t(status.table_blocked)}${/re-arm/.test(status.table_blocked) ? ` ${t("Re-arm after stop first.")}` : ""}`
        : moving ? `${t("The guide moves")}: ${(status.v_cap * 1000).toFixed(1)} mm/s`
          : deadman.press && hand.refused ? `${t("the governor does not permit it")}: ${t(hand.refused)}`
            : stopped ? t("Let go and press again.") : "");
      text(hint, t(planned ? "Up and down; x and y of the robot's base. Never nearer to the patient than 10 mm, and from nearer only away." : "Up and sideways once a plan is there: nobody knows yet where the patient is."));
    },
  };
}
