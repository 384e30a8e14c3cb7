// Consult: the same images, live pictures, everybody's pointer, drawings in patient millimetres, voice, words, requests, invitations, proposals.
import { attr, disable, h, rebuild, show, text } from "../lib/dom.js";
import { getLanguage, t } from "../lib/i18n.js";

const TAKE_PART = ["surgeon", "mentor", "expert", "bedside"], ADVISE = ["surgeon", "mentor", "expert"], INVITE = ["surgeon", "mentor", "bedside"];

export function makeConsult(app) {
  const { store } = app;
  store.consult ??= { requests: [], invitations: [], words: [], marks: [], voices: {}, on_call: [] };
  const people = h("ul", { class: "people", id: "people" }), proposals = h("div", { class: "proposals", id: "proposals" });
  // -- words
  const chat = h("ul", { class: "chat", id: "chat", "aria-live": "polite", label: "Chat" });
  const input = h("input", { id: "chat-input", label: "Message", maxlength: "1000", autocomplete: "off" });
  const to = h("select", { id: "chat-to", class: "to", label: "To" }), instruct = h("input", { type: "checkbox", id: "chat-instruction" });
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); const words = input.value.trim(); if (words) app.call("consult.say", { text: words, to: to.value ? [to.value] : [], kind: instruct.checked ? "instruction" : "text" }).then(() => { input.value = ""; instruct.checked = false; }, app.fail); } }, to, input, h("button", { t: "Send" }));
  const asInstruction = h("label", { class: "hint row" }, instruct, h("span", { t: "as an instruction, to be acknowledged" }));
  // -- voice
  const mic = h("button", { id: "mic", onclick: () => speak(myVoice().muted) }), voiceTo = h("select", { id: "voice-to", class: "to", label: "Speak to", onchange: () => { if (!myVoice().muted) speak(true); } });
  const voice = h("div", { class: "voice" }, mic, voiceTo);
  const myVoice = () => store.consult.voices[store.me.name] ?? { muted: true, to: [] };
  async function speak(on) {
    try { if (on) await app.player.microphone(true); await app.call("consult.voice", { muted: !on, to: voiceTo.value ? [voiceTo.value] : [] }); if (!on) await app.player.microphone(false); } catch (error) { app.fail(error.name === "NotFoundError" || error.name === "NotAllowedError" ? new Error(t("This browser gives no microphone to this page")) : error); }
  }
  // -- tools over the images
  const tool = { value: "" };
  const tools = h("div", { class: "segmented", role: "group", label: "Tools" }, ...[["", "Look"], ["line", "Draw"], ["measure", "Measure"]].map(([id, name]) => h("button", { t: name, "data-tool": id, onclick: () => { tool.value = id; } })));
  const follow = h("button", { id: "follow", onclick: () => { store.follow = !store.follow; if (store.follow) app.applyLook(store.room.look); } });
  const present = h("button", { id: "present", onclick: () => app.call("room.present", { on: !iPresent() }).catch(app.fail) });
  const handUp = h("button", { id: "raise", onclick: () => app.call("room.hand", { up: !me()?.hand }).catch(app.fail) });
  const erase = h("button", { t: "Erase my last drawing", onclick: () => { const mine = store.room.drawings.filter((d) => d.author === store.me.name).at(-1); if (mine) app.call("room.erase", { id: mine.id }).catch(app.fail); } });
  const big = h("button", { id: "live-big", t: "Large pictures", onclick: () => { root.classList.toggle("big-wall"); app.dirty = true; } });
  const cases = h("select", { id: "consult-case", label: "Case", onchange: () => app.openCase(cases.value) });
  const screws = h("select", { id: "consult-screw", label: "Screw", onchange: () => app.select(screws.value) });
  // -- proposals
  const proposalText = h("input", { id: "proposal-text", label: "Why", maxlength: "300" });
  const proposeD = h("select", { id: "propose-d", label: "Diameter" }, ...[4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5].map((d) => h("option", { value: String(d) }, d.toFixed(1)))), proposeL = h("select", { id: "propose-l", label: "Length" }, ...[25, 30, 35, 40, 45, 50, 55, 60].map((d) => h("option", { value: String(d) }, String(d))));
  const propose = h("button", { id: "propose", t: "Propose", onclick: () => app.call("room.propose", { screw: store.screwId, change: { do: "size", diameter_mm: Number(proposeD.value), length_mm: Number(proposeL.value) }, text: proposalText.value }).then(() => { proposalText.value = ""; }, app.fail) });
  // -- requests for an opinion
  const question = h("input", { id: "question", label: "Question", maxlength: "1000" }), askButton = h("button", { id: "ask", class: "primary", t: "Ask the experts on call", onclick: () => app.call("consult.request", { site: store.siteName, question: question.value }).then(() => { question.value = ""; }, app.fail) });
  const requests = h("div", { id: "requests" }), onCall = h("p", { class: "hint", id: "on-call" });
  const duty = h("input", { id: "duty", label: "On call, names with commas", maxlength: "600" }), setDuty = h("button", { id: "duty-set", t: "Set", onclick: () => app.call("consult.duty", { names: duty.value.split(",") }).catch(app.fail) });
  // -- invitations
  const guest = h("input", { id: "guest", label: "Your guest's name", maxlength: "40" }), guestRole = h("select", { id: "guest-role", label: "Role" }, ...["expert", "mentor", "bedside", "observer", "reviewer"].map((r) => h("option", { value: r }, r)));
  const lasts = h("select", { id: "guest-time", label: "Lasts" }, ...[[600, "10 min"], [3600, "1 h"], [28800, "8 h"], [172800, "2 d"]].map(([s, words]) => h("option", { value: String(s) }, words)));
  const address = h("input", { id: "guest-address", label: "Address for the guest", readonly: "", hidden: true });
  const inviteButton = h("button", { id: "invite", t: "Invite", onclick: () => app.call("consult.invite", { name: guest.value, role: guestRole.value, seconds: Number(lasts.value) }).then((token) => { address.value = `${location.origin}/consult#t=${token}`; address.hidden = false; address.select(); guest.value = ""; }, app.fail) });
  const invites = h("ul", { id: "invites" });

  const talk = h("div", { class: "talk" }, h("h2", { t: "Chat" }), chat, form, asInstruction, h("h2", { t: "Proposals" }), h("div", { class: "row wrap" }, proposeD, "×", proposeL, proposalText, propose), proposals);
  const asking = h("div", { class: "asking" }, h("h2", { t: "Requests" }), onCall, h("div", { class: "row" }, duty, setDuty), h("div", { class: "row" }, question), askButton, requests);
  const inviting = h("div", { class: "invites" }, h("h2", { t: "Invitations" }), guest, h("div", { class: "row" }, guestRole, lasts, inviteButton), address, invites);
  const panels = { talk, ask: asking, invite: inviting };
  let panel = "talk";
  const tabs = h("div", { class: "segmented aside-tabs", role: "group", label: "Panels" }, ...[["talk", "Talk"], ["ask", "Requests"], ["invite", "Invitations"]].map(([id, name]) => h("button", { id: `aside-${id}`, t: name, "data-panel": id, onclick: () => { panel = id; app.dirty = true; } })));
  const middle = h("div", { class: "middle" }, h("div", { class: "toolbar" }, cases, screws, tools, erase, follow, present, handUp, big));
  const right = h("aside", { class: "right" }, h("h2", { t: "People" }), people, voice, tabs, talk, asking, inviting);
  const root = h("div", { class: "view consult" }, middle, right);

  // -- somebody is wanted, or has an instruction to acknowledge
  const wanted = h("div", { id: "wanted", role: "alertdialog", label: "Somebody asks for you", hidden: true });
  document.body.append(wanted);
  let call = null;
  app.onWanted = (message) => { call = message; app.sound.known = ""; app.call("consult.look", { id: message.request, what: "seen" }).catch(() => {}); app.dirty = true; };
  async function openRequest(r) {
    call = null;
    if (app.page === "console" || store.view !== "consult") app.show("consult");
    const images = r.case || await imagesOf(r);
    if (images) await app.openCase(images);
    await shown();
    await app.call("consult.look", { id: r.id, what: "opened" }).catch(app.fail);
    app.dirty = true;
  }
  /** A hospital asked at its bedside: its images are fetched over its line, or are here already. */
  async function imagesOf(r) {
    const source = r.bedside && (await app.call("cases.sources")).filter((s) => s.id === r.site).sort((a, b) => (a.kind === "fetch") - (b.kind === "fetch"))[0];
    if (r.bedside && !source) throw new Error(t("This hospital has no images to send"));
    return source ? app.call("cases.open", { source }) : "";
  }
  /** While somebody is asked for and has not answered, it sounds. */
  app.wantedSound = () => (call && store.consult.requests.some((r) => r.id === call.request && r.state === "open") ? [{ id: `wanted-${call.request}`, priority: "medium" }] : []);
  /** Resolves when the images stand on the screen (or there are none to wait for). */
  function shown() { return new Promise((resolve) => { const end = performance.now() + 60000; const look = () => (!store.desk || (app.images.ready && Object.values(app.block.slices).some((s) => s.drawn)) || performance.now() > end ? resolve() : setTimeout(look, 20)); look(); }); }
  function instruction() { return store.consult.words.find((w) => w.kind === "instruction" && w.author !== store.me.name && !w.acked.includes(store.me.name)); }

  app.drawTool = () => (store.view === "consult" ? tool.value : "");
  app.onStroke = (points) => { if (points?.length > 1) app.call("room.draw", { kind: tool.value, points }).catch(app.fail); };
  const me = () => store.room.persons.find((p) => p.name === store.me.name);
  const iPresent = () => me()?.presents;
  /** What is up for everybody, whatever view is shown. */
  app.updateWanted = () => {
    const told = instruction(), request = call && store.consult.requests.find((r) => r.id === call.request && r.state === "open");
    rebuild(wanted, [request?.id ?? 0, told?.id ?? 0, getLanguage()], () => (request
      ? [h("h2", { t: "Your opinion is asked for" }), h("p", {}, call.text), h("div", { class: "row" }, h("button", { id: "wanted-open", class: "primary big", t: "Open the images", onclick: () => openRequest(request).catch(app.fail) }), h("button", { t: "Later", onclick: () => { call = null; app.dirty = true; } }))]
      : told ? [h("h2", { t: "Instruction" }), h("p", {}, h("b", {}, told.author), `: ${told.text}`), h("button", { id: "instruction-ack", class: "primary big", t: "Understood", onclick: () => app.call("consult.ack", { id: told.id }).catch(app.fail) })] : []));
    attr(wanted, "data-kind", request ? "request" : told ? "instruction" : null);
    show(wanted, request || told);
  };
  const names = (all) => [h("option", { value: "" }, t(all)), ...store.room.persons.filter((p) => p.name !== store.me.name).map((p) => h("option", { value: p.name }, p.name))];
  return {
    root, enter() { app.block.mount(middle, "six+scene"); middle.prepend(middle.querySelector(".toolbar")); app.wall.mount(middle, "three"); app.block.redraw(true); this.update(); },
    update() {
      const { room, desk, consult } = store, role = store.me.role, can = TAKE_PART.includes(role), speaking = store.frame?.media?.speaking ?? {};
      rebuild(cases, [store.cases, desk?.id, getLanguage()], () => [h("option", { value: "" }, t("Choose a case")), ...store.cases.map((c) => h("option", { value: c.id }, c.title))]);
      if (cases.value !== (desk?.id ?? "")) cases.value = desk?.id ?? "";
      rebuild(screws, [store.screws.map((s) => s.id), getLanguage()], () => [h("option", { value: "" }, t("Screw")), ...store.screws.map((s) => h("option", { value: s.id }, s.name ?? s.id))]);
      if (screws.value !== store.screwId) screws.value = store.screwId;
      rebuild(people, [room.persons, consult.voices, Object.keys(speaking), getLanguage()], () => room.persons.map((p) => { const v = consult.voices[p.name]; const li = h("li", { "data-name": p.name }, h("i", { class: "dot" }), h("b", {}, p.name), h("span", {}, t(p.role)), v && !v.muted ? h("span", { class: p.name in speaking ? "speaking" : "" }, v.to.length ? `🎙 → ${v.to.join(", ")}` : "🎙") : null, p.presents ? h("em", {}, t("presents")) : null, p.hand ? h("strong", {}, `✋ ${t("asks for control")}`) : null); li.querySelector(".dot").style.background = p.colour; return li; }));
      for (const [el, all] of [[to, "To all"], [voiceTo, "To all"]]) { const kept = el.value; if (rebuild(el, [room.persons.map((p) => p.name), getLanguage()], () => names(all))) el.value = [...el.options].some((o) => o.value === kept) ? kept : ""; }
      rebuild(chat, [consult.words.map((w) => [w.id, w.acked.length]), room.chat.length, getLanguage()], () => [...room.chat.map((l) => ({ ...l, utc: l.when, to: [], kind: "text", acked: [] })), ...consult.words].sort((a, b) => a.utc - b.utc).slice(-80).map((l) => { const li = h("li", { class: `${l.to.length ? "private" : ""} ${l.kind}`, "data-id": l.id }, h("b", {}, l.author), l.to.length ? h("em", {}, ` → ${l.to.join(", ")}`) : null, " ", l.text, l.acked.length ? h("em", {}, ` ✓ ${l.acked.join(", ")}`) : null); li.querySelector("b").style.color = l.colour ?? room.persons.find((p) => p.name === l.author)?.colour ?? "#fff"; return li; })) && (chat.scrollTop = 1e6);
      rebuild(proposals, [room.proposals, getLanguage(), role], () => room.proposals.slice(-6).reverse().map((p) => h("div", { class: "proposal", "data-state": p.state }, h("p", {}, h("b", {}, p.author), ` ${p.screw.name ?? p.screw.id} → ${p.screw.diameter_mm.toFixed(1)} × ${p.screw.length_mm.toFixed(0)}, ${t("Grade")} ${p.screw.grade ?? "–"}, ${p.screw.min_clearance_mm?.toFixed(1) ?? "–"} mm`), p.text ? h("p", { class: "hint" }, p.text) : null, p.state !== "open" ? h("em", {}, `${t(p.state)} · ${p.decided_by ?? ""}`) : role === "surgeon" ? h("div", { class: "row" }, h("button", { class: "primary", t: "Accept", onclick: () => app.call("room.decide", { id: p.id, accept: true }).catch(app.fail) }), h("button", { t: "Decline", onclick: () => app.call("room.decide", { id: p.id, accept: false }).catch(app.fail) })) : h("em", { t: "open" }))));
      rebuild(requests, [consult.requests, role, getLanguage()], () => consult.requests.slice().reverse().map((r) => h("div", { class: "request", "data-state": r.state, "data-request": r.id },
        h("p", {}, h("b", {}, r.by), r.site ? ` · ${store.sites[r.site]?.title ?? r.site}` : "", ` · ${new Date(r.utc * 1000).toLocaleTimeString([], { hour12: false })}`, r.escalated ? h("em", {}, ` ${t("nobody answered: all were told")}`) : null), h("p", {}, r.question),
        h("p", { class: "hint" }, Object.keys(r.told).length ? `${t("told")}: ${Object.keys(r.told).join(", ")}` : t("nobody who is on call is here"), ...Object.entries(r.opened).map(([n, ms]) => ` · ${n}: ${t("images open after")} ${(ms / 1000).toFixed(1)} s`)),
        r.state === "open" ? h("div", { class: "row" }, r.case || r.bedside ? h("button", { t: "Open the images", onclick: () => openRequest(r).catch(app.fail) }) : null, r.by === store.me.name || ADVISE.includes(role) ? h("input", { class: "answer", label: "Answer", maxlength: "1000" }) : null, r.by === store.me.name || ADVISE.includes(role) ? h("button", { t: "Close the request", onclick: (event) => app.call("consult.close", { id: r.id, answer: event.target.previousSibling?.value ?? "" }).catch(app.fail) }) : null) : h("em", {}, `${t(r.state)}${r.answer ? `: ${r.answer}` : ""}`))));
      rebuild(invites, [consult.invitations, getLanguage()], () => consult.invitations.slice().reverse().map((i) => h("li", { "data-state": i.state, "data-guest": i.name }, h("b", {}, i.name), t(i.role), h("span", {}, i.state === "valid" ? `${t("until")} ${new Date(i.expires * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false })}` : t(i.state)), i.state === "valid" ? h("button", { t: "Revoke", onclick: () => app.call("consult.revoke", { id: i.id }).catch(app.fail) }) : null)));
      text(onCall, `${t("On call")}: ${consult.on_call.join(", ") || t("nobody")}`);
      for (const [id, el] of Object.entries(panels)) show(el, id === panel);
      for (const el of tabs.children) { attr(el, "aria-pressed", el.dataset.panel === panel ? "true" : "false"); show(el, el.dataset.panel !== "invite" || INVITE.includes(role)); }
      for (const el of tools.children) { attr(el, "aria-pressed", el.dataset.tool === tool.value ? "true" : "false"); disable(el, !can); }
      text(follow, store.follow ? t("Following the presenter") : t("Follow the presenter")); attr(follow, "aria-pressed", String(store.follow));
      text(present, iPresent() ? t("Stop presenting") : t("Present")); show(present, role === "surgeon");
      text(handUp, me()?.hand ? t("Lower hand") : t("Raise hand")); disable(handUp, !can); show(handUp, can);
      text(mic, myVoice().muted ? t("Microphone is off") : t("SPEAKING: microphone is on")); attr(mic, "aria-pressed", String(!myVoice().muted));
      show(voice, !["viewer", "reviewer"].includes(role)); show(duty.parentElement, ["surgeon", "mentor"].includes(role));
      disable(propose, !ADVISE.includes(role) || !store.screwId); disable(input, role === "viewer"); disable(to, role === "viewer"); show(erase, can); disable(askButton, !can); disable(question, !can);
      show(asInstruction, can);
      app.wall.update();
    },
  };
}
