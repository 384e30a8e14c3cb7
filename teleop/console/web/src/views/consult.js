// Consult: the same images, everybody's pointer, drawings in patient millimetres, raised hands, chat, proposals.
import { attr, disable, h, rebuild, show, text } from "../lib/dom.js";
import { getLanguage, t } from "../lib/i18n.js";

export function makeConsult(app) {
  const { store } = app;
  const people = h("ul", { class: "people", id: "people" }), proposals = h("div", { class: "proposals", id: "proposals" });
  const chat = h("ul", { class: "chat", id: "chat", "aria-live": "polite", label: "Chat" });
  const input = h("input", { id: "chat-input", label: "Message", maxlength: "1000", autocomplete: "off" });
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); const words = input.value.trim(); if (words) app.call("room.chat", { text: words }).then(() => { input.value = ""; }, app.fail); } }, input, h("button", { t: "Send" }));
  const tool = { value: "" };
  const tools = h("div", { class: "segmented", role: "group", label: "Tools" }, ...[["", "Look"], ["line", "Draw"], ["measure", "Measure"]].map(([id, name]) => h("button", { t: name, "data-tool": id, onclick: () => { tool.value = id; } })));
  const follow = h("button", { id: "follow", onclick: () => { store.follow = !store.follow; if (store.follow) app.applyLook(store.room.look); } });
  const present = h("button", { id: "present", onclick: () => app.call("room.present", { on: !iPresent() }).catch(app.fail) });
  const handUp = h("button", { id: "raise", onclick: () => app.call("room.hand", { up: !me()?.hand }).catch(app.fail) });
  const erase = h("button", { t: "Erase my last drawing", onclick: () => { const mine = store.room.drawings.filter((d) => d.author === store.me.name).at(-1); if (mine) app.call("room.erase", { id: mine.id }).catch(app.fail); } });
  const cases = h("select", { id: "consult-case", label: "Case", onchange: () => app.openCase(cases.value) });
  const screws = h("select", { id: "consult-screw", label: "Screw", onchange: () => app.select(screws.value) });
  const proposalText = h("input", { id: "proposal-text", label: "Why", maxlength: "300" });
  const proposeD = h("select", { id: "propose-d", label: "Diameter" }, ...[4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5].map((d) => h("option", { value: String(d) }, d.toFixed(1)))), proposeL = h("select", { id: "propose-l", label: "Length" }, ...[25, 30, 35, 40, 45, 50, 55, 60].map((d) => h("option", { value: String(d) }, String(d))));
  const propose = h("button", { id: "propose", t: "Propose", onclick: () => app.call("room.propose", { screw: store.screwId, change: { do: "size", diameter_mm: Number(proposeD.value), length_mm: Number(proposeL.value) }, text: proposalText.value }).then(() => { proposalText.value = ""; }, app.fail) });
  const middle = h("div", { class: "middle" }, h("div", { class: "toolbar" }, cases, screws, tools, erase, follow, present, handUp));
  const right = h("aside", { class: "right" }, h("h2", { t: "People" }), people, h("div", { class: "media" }, h("div", { class: "video small" }, h("span", { t: "Voice and video" }), h("b", { t: "NOT CONNECTED" }))),
    h("h2", { t: "Proposals" }), h("div", { class: "row wrap" }, proposeD, "×", proposeL, proposalText, propose), proposals, h("h2", { t: "Chat" }), chat, form);
  const root = h("div", { class: "view consult" }, middle, right);
  app.drawTool = () => (store.view === "consult" ? tool.value : "");
  app.onStroke = (points) => { if (points?.length > 1) app.call("room.draw", { kind: tool.value, points }).catch(app.fail); };
  const me = () => store.room.persons.find((p) => p.name === store.me.name);
  const iPresent = () => me()?.presents;
  return {
    root, enter() { app.block.mount(middle, "six+scene"); middle.prepend(middle.querySelector(".toolbar")); app.block.redraw(true); },
    update() {
      const { room, desk } = store, can = store.me.role !== "viewer";
      rebuild(cases, [store.cases, desk?.id, getLanguage()], () => [h("option", { value: "" }, t("Choose a case")), ...store.cases.map((c) => h("option", { value: c.id }, c.title))]);
      if (cases.value !== (desk?.id ?? "")) cases.value = desk?.id ?? "";
      rebuild(screws, [store.screws.map((s) => s.id), getLanguage()], () => [h("option", { value: "" }, t("Screw")), ...store.screws.map((s) => h("option", { value: s.id }, s.name ?? s.id))]);
      if (screws.value !== store.screwId) screws.value = store.screwId;
      rebuild(people, [room.persons, getLanguage()], () => room.persons.map((p) => { const li = h("li", {}, h("i", { class: "dot" }), h("b", {}, p.name), h("span", {}, t(p.role)), p.presents ? h("em", {}, t("presents")) : null, p.hand ? h("strong", {}, `✋ ${t("asks for control")}`) : null); li.querySelector(".dot").style.background = p.colour; return li; }));
      rebuild(chat, [room.chat.length, room.chat.at(-1)?.id], () => room.chat.slice(-80).map((l) => { const li = h("li", {}, h("b", {}, l.author), " ", l.text); li.querySelector("b").style.color = l.colour; return li; })) && (chat.scrollTop = 1e6);
      rebuild(proposals, [room.proposals, getLanguage(), store.me.role], () => room.proposals.slice(-6).reverse().map((p) => h("div", { class: "proposal", "data-state": p.state }, h("p", {}, h("b", {}, p.author), ` ${p.screw.name ?? p.screw.id} → ${p.screw.diameter_mm.toFixed(1)} × ${p.screw.length_mm.toFixed(0)}, ${t("Grade")} ${p.screw.grade ?? "–"}, ${p.screw.min_clearance_mm?.toFixed(1) ?? "–"} mm`), p.text ? h("p", { class: "hint" }, p.text) : null, p.state !== "open" ? h("em", {}, `${t(p.state)} · ${p.decided_by ?? ""}`) : store.me.role === "surgeon" ? h("div", { class: "row" }, h("button", { class: "primary", t: "Accept", onclick: () => app.call("room.decide", { id: p.id, accept: true }).catch(app.fail) }), h("button", { t: "Decline", onclick: () => app.call("room.decide", { id: p.id, accept: false }).catch(app.fail) })) : h("em", { t: "open" }))));
      for (const el of tools.children) { attr(el, "aria-pressed", el.dataset.tool === tool.value ? "true" : "false"); disable(el, !can); }
      text(follow, store.follow ? t("Following the presenter") : t("Follow the presenter")); attr(follow, "aria-pressed", String(store.follow));
      text(present, iPresent() ? t("Stop presenting") : t("Present")); show(present, store.me.role === "surgeon");
      text(handUp, me()?.hand ? t("Lower hand") : t("Raise hand")); disable(handUp, !can); show(handUp, can);
      disable(propose, !can || !store.screwId); disable(input, !can); show(erase, can);
    },
  };
}
