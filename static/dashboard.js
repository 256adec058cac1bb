// The dashboard: the socket says when something changed, the server renders what.

import { announce, prepare, showInTab } from "./announce.js";
import { learn, now, refresh, run, timeOfDay } from "./clock.js";
import { morph, morphChildren, parse } from "./morph.js";
import { settle } from "./settle.js";
import { Socket } from "./socket.js";
import { write } from "./write.js";

const SPACING = 1000; // at most one rendering a second
const SLICE = 8; // milliseconds of work, then the browser's turn
const PATIENCE = 2000; // a ward who turned a page is back by then, and nobody need be alarmed

const live = document.getElementById("live");
const cards = document.getElementById("cards");
const words = JSON.parse(live.dataset.words);
const icons = JSON.parse(live.dataset.icons);

const time = timeOfDay(live.dataset.zone, live.dataset.hours);

let version = live.dataset.version;
let asked = -SPACING;
let timer = null;
let asking = false;
let again = false;
let current = true; // what is shown was true a moment ago
let known = 0;
let before = null; // what the cards showed when the connection went
let missed = []; // what was said since then

learn(Number(live.dataset.now));
known = now();
run(live, words);
prepare(document.getElementById("sound"), document.getElementById("notify"), document.getElementById("mute"));
showState();
navigator.serviceWorker?.register(live.dataset.worker).catch(() => {});

// -- what the socket says ---------------------------------------------------------------------------------------------

const sessions = new Map([...cards.children].map((card) => [card.id.slice(2), card.dataset.name]));

const losses = new Map(); // sessions whose connection was lost a moment ago: the timer of saying so

const said = {
  "guardian:session-started": ({ sessionId, wardFirstName, wardLastName, wardEmail }) => {
    const isNew = !sessions.has(sessionId);
    sessions.set(sessionId, `${wardFirstName} ${wardLastName}`.trim() || wardEmail);
    if (isNew) tell("started", sessionId);
  },
  "session-interrupted": ({ sessionId }) => {
    clearTimeout(losses.get(sessionId));
    losses.set(sessionId, setTimeout(() => {
      losses.delete(sessionId);
      tell("lost", sessionId);
    }, PATIENCE));
  },
  "session-resumed": ({ sessionId }) => {
    if (!spare(sessionId)) tell("resumed", sessionId);
  },
  "session-ended": ({ sessionId, reason }) => {
    spare(sessionId);
    tell(reason === "manual_stop" ? "ended" : `ended_${reason}`, sessionId);
    // One that came and went between two renderings is in none of them: everything is asked for.
    if (!document.getElementById(`s-${sessionId}`)) version = "0";
    sessions.delete(sessionId);
  },
  "guardian:access-revoked": ({ sessionId }) => {
    tell("revoked", sessionId);
    sessions.delete(sessionId);
  },
  message: ({ from, sessionId, text }) => {
    if (from.role === "ward") {
      announce("message", message(sessions.get(sessionId) ?? `${from.firstName} ${from.lastName}`.trim(), text), sessionId);
    }
  },
};

function tell(kind, sessionId) {
  if (!sessions.has(sessionId)) return;
  const sentence = (words[kind] ?? words.ended).replace("{name}", () => sessions.get(sessionId));
  if (!current) missed.push(sentence);
  // Whatever ends a session but its ward is as loud as a loss.
  announce(kind.startsWith("ended_") ? "lost" : kind, sentence, sessionId);
}

/** A loss that has not been said yet need not be. */
function spare(sessionId) {
  clearTimeout(losses.get(sessionId));
  return losses.delete(sessionId);
}

function message(name, text) {
  const values = { "{name}": name, "{text}": text };
  return words.message.replace(/{name}|{text}/g, (part) => values[part]);
}

const socket = new Socket("/ws/guardian", {
  opened: () => ask(),
  received: (event, data) => {
    said[event]?.(data);
    if (event !== "guardian:snapshot") ask();
  },
  closed: () => {
    current = false;
    // A loss that was to be said in a moment may be over when the connection is back: what is then, counts.
    const unsaid = [...losses.keys()].filter(spare);
    showState();
    for (const id of unsaid) if (before.has(`s-${id}`)) before.get(`s-${id}`).lost = false;
  },
});

// What the guardian's socket does not say (to an admin, of one's own session) is asked for.
setInterval(() => {
  const quiet = !cards.childElementCount && performance.now() - asked < Number(live.dataset.quiet);
  if (!document.hidden && !quiet) ask();
}, Number(live.dataset.poll));

// -- what the server renders ------------------------------------------------------------------------------------------

function ask() {
  again = true;
  if (asking || timer !== null) return;
  timer = setTimeout(fetchChanges, Math.max(0, asked + SPACING - performance.now()));
}

async function fetchChanges() {
  timer = null;
  asking = true;
  again = false;
  asked = performance.now();
  try {
    const answer = await fetch(`/live?since=${encodeURIComponent(version)}`, {
      headers: { Accept: "application/json" }, redirect: "manual", signal: AbortSignal.timeout(8000),
    });
    if (answer.status === 401 || answer.type === "opaqueredirect") return location.reload();
    if (answer.ok && answer.status !== 204) await show(await answer.json());
    if (answer.ok) hear(answer.headers.get("Heard"));
    current = answer.ok && socket.open;
    if (answer.ok) known = now();
  } catch {
    current = false;
  }
  asking = false;
  showState();
  if (again) ask();
}

async function show(page) {
  learn(page.now);
  const missing = page.order.some((id) => !document.getElementById(id) && !(id in page.cards));
  if (missing) {
    version = "0";
    again = true;
    return;
  }
  settle(parts, () => arrange(page));
  let begun = performance.now();
  for (const [id, html] of Object.entries(page.cards)) {
    const card = document.getElementById(id);
    if (card && html) {
      settle(parts, () => redraw(card, parse(html)));
      if (performance.now() - begun > SLICE) {
        await new Promise((resume) => setTimeout(resume));
        begun = performance.now();
      }
    }
  }
  version = page.version;
  refresh(live, words);
}

/** Note how many milliseconds ago each ward was heard of, in the order of the cards. */
function hear(ages) {
  (ages || "").split(" ").forEach((age, place) => {
    const heard = cards.children[place]?.querySelector(".heard");
    if (heard && age) heard.dataset.ago = Math.round(now() - age);
  });
}

/** Let cards come, go and change places; the others are filled in later. */
function arrange(page) {
  const wanted = new Set(page.order);
  for (const card of [...cards.children]) {
    if (!wanted.has(card.id)) card.remove();
  }
  page.order.forEach((id, place) => {
    const here = cards.children[place];
    if (here?.id === id) return;
    const known = document.getElementById(id);
    if (known) move(known, here);
    else cards.insertBefore(take(page.cards, id), here ?? null);
  });
  for (const part of ["summary", "calm", "ended"]) {
    if (part in page) morphChildren(document.getElementById(part), parse(`<div>${page[part]}</div>`));
  }
  document.getElementById("calm").hidden = page.order.length > 0;
}

function take(rendered, id) {
  const card = parse(rendered[id]);
  delete rendered[id];
  scrollToEnd(card);
  return card;
}

function move(card, before) {
  // Moving an element takes the focus from what is in it, and with it the keyboard of a phone.
  const focused = card.contains(document.activeElement) ? document.activeElement : null;
  const selection = focused && "selectionStart" in focused ? [focused.selectionStart, focused.selectionEnd] : null;
  cards.insertBefore(card, before);
  focused?.focus({ preventScroll: true });
  if (selection) focused.setSelectionRange(...selection);
}

function redraw(card, wanted) {
  const messages = card.querySelector(".messages");
  const atEnd = !messages || messages.scrollHeight - messages.scrollTop - messages.clientHeight < 30;
  const count = messages?.childElementCount;
  morph(card, wanted);
  const after = card.querySelector(".messages");
  if (after && atEnd && after.childElementCount !== count) scrollToEnd(card);
}

function scrollToEnd(card) {
  const messages = card.querySelector(".messages");
  if (messages) requestAnimationFrame(() => (messages.scrollTop = messages.scrollHeight));
}

function parts() {
  return [...cards.children, document.getElementById("calm"), document.getElementById("ended")];
}

// -- what the page knows ----------------------------------------------------------------------------------------------

function showState() {
  const away = document.getElementById("away");
  live.classList.toggle("stale", !current);
  if (!current) before ??= picture();
  if (current !== away.hidden) {
    away.hidden = current;
    away.lastElementChild.textContent = current ? "" : words.away.replace("{time}", time.format(known));
    if (current) sayWhatWasMissed();
  }
  const all = [...cards.children];
  showInTab(words.title, icons, all.length, !current || all.some((card) => card.dataset.state === "lost"));
}

/** What each card says that somebody must hear of: whether its ward is lost, and what they wrote last. */
function picture() {
  return new Map([...cards.children].map((card) => {
    const written = [...card.querySelectorAll(".messages > .ward, .last-word")].at(-1);
    return [card.id, { card, lost: card.dataset.state === "lost", id: written?.id, text: written?.querySelector(".text").textContent }];
  }));
}

/** The connection is back: what happened meanwhile is as loud as if it happened now. */
function sayWhatWasMissed() {
  let kind = missed.length ? "message" : "resumed";
  for (const [id, { card, lost, id: written, text }] of picture()) {
    const earlier = before?.get(id);
    const { name } = card.dataset;
    if (written && written !== earlier?.id) {
      missed.push(message(name, text));
      if (kind === "resumed") kind = "message";
    }
    if (lost && !earlier?.lost) {
      missed.push(words.lost.replace("{name}", () => name));
      kind = "lost";
    }
  }
  announce(kind, missed.join(" ") || words.back);
  [before, missed] = [null, []];
}

for (const list of cards.querySelectorAll(".messages")) list.scrollTop = list.scrollHeight;

// -- what a guardian writes -------------------------------------------------------------------------------------------

cards.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const failed = (why) => (document.getElementById("said").textContent = words[`not_sent_${why}`]);
  write(socket, form.elements.text, { wardId: form.dataset.write }, failed);
});
