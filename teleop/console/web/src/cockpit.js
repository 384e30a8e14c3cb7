// The cockpit: every site on one board, with the trend of its line and what is likely next. Reads /cockpit/data once a second.
import { attr, h, text } from "./lib/dom.js";
import { getLanguage, setLanguage, t } from "./lib/i18n.js";
import { ZH } from "./lib/zh.js";
import { takeToken } from "./net/net.js";
import { makeBoard } from "./cockpit/board.js";
import { WORDS_ZH } from "./cockpit/words_zh.js";
import { summary } from "./cockpit/figures.js";

for (const [english, chinese] of Object.entries(WORDS_ZH)) ZH[english] ??= chinese;
setLanguage(getLanguage());
const token = takeToken();
const banner = h("div", { id: "banner", role: "alert", hidden: true });
const line = h("p", { class: "summary", id: "summary", "aria-live": "polite" });
const board = makeBoard();
const language = h("button", { class: "quiet", id: "language", onclick: () => { setLanguage(getLanguage() === "zh" ? "en" : "zh"); location.reload(); } }, getLanguage() === "zh" ? "English" : "中文");
const order = h("select", { id: "order", label: "Order of the sites", onchange: () => board.order(order.value) }, h("option", { value: "urgency", t: "Most urgent first" }), h("option", { value: "name", t: "By name" }));
document.body.append(
  h("header", {}, h("div", { class: "brand" }, h("span", { class: "mark" }), h("h1", { t: "Cockpit" })), line, order, h("a", { href: "/console", t: "Console" }), language),
  banner, h("main", { id: "main", tabindex: "-1" }, board.root),
);

let got = 0;
async function look() {
  let why = "";
  try {
    const answer = await fetch("/cockpit/data", { headers: { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(4000) });
    if (answer.status === 401) why = t("Sign in with the address that the server printed");
    else if (!answer.ok) why = `${t("The console's server answers")} ${answer.status}`;
    else { const data = await answer.json(); got = performance.now(); board.update(data); text(line, summary(data, t)); }
  } catch { why = t("No answer from the console's server"); }
  // Old numbers must not look alive: they are greyed out, and the banner says since when.
  attr(document.body, "data-old", performance.now() - got > 3000);
  banner.hidden = !why;
  text(banner, why);
}
look();
setInterval(look, 1000);
