// The table asks an expert: a question goes out with the case's images; who was told, who looks, when the images were open there.
import { disable, h, rebuild, show } from "../lib/dom.js";
import { getLanguage, t } from "../lib/i18n.js";

/** order: gives an order of the table and resolves to the site's reply. */
export function askExpert(order) {
  const question = h("input", { id: "expert-question", label: "Question for an expert", maxlength: "1000", placeholder: t("Question for an expert") });
  const send = h("button", { id: "expert-ask", t: "Ask an expert", onclick: ask });
  const list = h("div", { id: "expert-requests", "aria-live": "polite" });
  const root = h("section", { class: "expert" }, h("div", { class: "pair" }, question, send), list);
  let sending = false;
  async function ask() {
    const words = question.value.trim();
    if (!words || sending) return question.focus();
    sending = true;
    try { if ((await order("case.ask_expert", { question: words })).ok) question.value = ""; } finally { sending = false; }
  }
  question.addEventListener("keydown", (event) => { if (event.key === "Enter") ask(); });
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
  const names = (found) => Object.keys(found).join(", ");
  function words(r) {
    if (r.state === "withdrawn") return t("withdrawn");
    if (r.state === "closed") return r.answer ? `${t("answered")}: ${r.answer}` : t("closed");
    const open = Object.entries(r.opened).map(([n, ms]) => `${n}: ${t("images open after")} ${seconds(ms)}`);
    if (open.length) return open.join(" · ");
    if (names(r.seen)) return `${t("seen by")} ${names(r.seen)}`;
    if (names(r.told)) return `${t("told")}: ${names(r.told)}`;
    return r.taken ? `${t("at the console")} ${r.taken}, ${t("nobody who is on call is here")}` : t("not yet at a console");
  }
  return {
    root, question,
    update(frame, dead) {
      disable(send, dead, t("The case desk is not running: only STOP works from here."));
      const found = frame?.requests ?? [];
      rebuild(list, [found.map((r) => [r.id, words(r)]), getLanguage()], () => found.slice().reverse().map((r) => h("div", { class: "request", "data-state": r.state, "data-request": r.id },
        h("p", {}, r.question), h("p", { class: "hint words" }, words(r)),
        r.state === "open" ? h("button", { class: "quiet", t: "Withdraw", onclick: () => order("case.withdraw_request", { request: r.id }) }) : null)));
      show(list, found.length);
    },
  };
}
