// The dashboard: the socket says when something changed, the server renders what.

import { isOver, learn, now, refresh } from "./clock.js";
import { morph, morphChildren, parse } from "./morph.js";
import { connection, rendered, signedOut, socket, untold, watch, words } from "./news.js";
import { settle } from "./settle.js";
import { isOfViewer, whoIsHere } from "./socket.js";
import { outlive, putAside, sayAside, withoutUnsent, write } from "./write.js";

const SPACING = 1000; // at most one rendering a second
const UNSEEN = 5000; // and less often where only the tab shows it
const SLICE = 20; // cards that are filled in and looked at together, some milliseconds of work; then the browser's turn

const live = document.getElementById("live");
const cards = document.getElementById("cards");

let version = live.dataset.version;
let asked = -SPACING;
let timer = null;
let asking = false;
let again = false;
let failures = 0; // in a row

watch(() => [...cards.children], (event, data) => {
  // One that came and went between two renderings is in none of them: everything is asked for.
  if (event === "session-ended" && !document.getElementById(`s-${data.sessionId}`)) version = "0";
  if (event === "guardian:snapshot") forgetFailures();
  ask();
});

// What the guardian's socket does not say (to an admin, of one's own session) is asked for.
setInterval(() => {
  if (isOver(live)) version = "0";
  const quiet = !cards.childElementCount && performance.now() - asked < Number(live.dataset.quiet);
  const unseen = document.hidden && !isOver(live) && (!untold() || performance.now() - asked < UNSEEN);
  if (!quiet && !unseen) ask();
}, Number(live.dataset.poll));

// -- what the server renders ------------------------------------------------------------------------------------------

function ask() {
  again = true;
  if (asking || timer !== null) return;
  timer = setTimeout(fetchChanges, Math.max(0, asked + SPACING * 2 ** Math.min(failures, 3) - performance.now()));
}

/** The server is there again: nothing waits as long any more as it was asked for in vain. */
function forgetFailures() {
  failures = 0;
  clearTimeout(timer);
  timer = null;
}

async function fetchChanges() {
  timer = null;
  asking = true;
  again = false;
  asked = performance.now();
  const [since, over] = [version, connection()];
  let [ok, whole] = [false, true];
  try {
    const { viewer } = document.body.dataset;
    const answer = await fetch(`/live?${new URLSearchParams({ since, viewer })}`, {
      headers: { Accept: "application/json" }, redirect: "manual", signal: AbortSignal.timeout?.(8000),
    });
    const person = answer.status === 401 ? await whoIsHere() : undefined;
    if (person === null) return signedOut();
    if (person && !isOfViewer(person)) return location.reload();
    // A network that asks to sign in at its own page first, may give that one instead.
    if (answer.ok && answer.headers.has("Now")) {
      learn(Number(answer.headers.get("Now")));
      const news = await answer.json();
      if (news.version) whole = await show(news, since);
      if (whole) hear(news.heard);
      ok = true;
    }
  } catch {
    // Without an answer, what is shown is old.
  }
  asking = false;
  failures = ok ? 0 : failures + 1;
  // What is there in part is neither old nor true.
  if (whole) rendered(ok, over);
  // Over an open connection, what could not be had is asked for again: nobody else may say anything for long.
  if (again || (!ok && socket.open)) ask();
}

/** False where something is missing, and everything is to be asked for. */
async function show(page, since) {
  const missing = page.order.some((id) => !document.getElementById(id) && !(id in page.cards));
  if (missing) {
    version = "0";
    again = true;
    return false;
  }
  settle(parts, () => arrange(page));
  const changed = Object.entries(page.cards);
  for (let place = 0; place < changed.length; place += SLICE) {
    if (place) await new Promise((resume) => setTimeout(resume));
    redraw(changed.slice(place, place + SLICE));
  }
  // Where everything is to be asked for meanwhile, it still is.
  if (version === since) version = page.version;
  refresh(live, words);
  return true;
}

/** Note how many milliseconds ago each ward was heard of, in the order of the cards. */
function hear(ages) {
  ages.forEach((age, place) => {
    const heard = cards.children[place]?.querySelector(".heard");
    if (heard) heard.dataset.ago = Math.round(now() - age);
  });
}

/** Let cards come, go and change places; the others are filled in later. */
function arrange(page) {
  const wanted = new Set(page.order);
  for (const card of [...cards.children]) {
    if (wanted.has(card.id)) continue;
    keepWhatIsWritten(card, "over");
    card.remove();
  }
  page.order.forEach((id, place) => {
    const here = cards.children[place];
    if (here?.id === id) return;
    const known = document.getElementById(id);
    if (known) move(known, here);
    else cards.insertBefore(take(page.cards, id), here ?? null);
  });
  for (const part of ["summary", "worrying", "calm", "ended"]) {
    if (part in page) morphChildren(document.getElementById(part), parse(`<div>${page[part]}</div>`));
  }
  document.getElementById("calm").hidden = page.order.length > 0;
}

function take(rendered, id) {
  const card = parse(rendered[id]);
  delete rendered[id];
  scrollToNewest(card);
  return card;
}

function move(card, before) {
  // Moving an element takes the focus from what is in it, and with it the keyboard of a phone; and scrolls it back.
  const focused = card.contains(document.activeElement) ? document.activeElement : null;
  const selection = focused && "selectionStart" in focused ? [focused.selectionStart, focused.selectionEnd] : null;
  const messages = card.querySelector(".messages");
  const scrolled = messages?.scrollTop;
  cards.insertBefore(card, before);
  if (messages) messages.scrollTop = scrolled;
  focused?.focus({ preventScroll: true });
  if (selection) focused.setSelectionRange(...selection);
}

/** Fill in cards anew. All are looked at before the first is changed: each look after a change lays out the whole page. */
function redraw(changed) {
  const known = changed.map(([id, html]) => [document.getElementById(id), html]).filter(([card]) => card);
  const seen = known.map(([card, html]) => [card, html, isAtNewest(card)]);
  settle(parts, () => seen.forEach(([card, html, atNewest]) => fill(card, parse(html), atNewest)));
}

function isAtNewest(card) {
  const messages = card.querySelector(".messages");
  return !messages || placeOfNewest(messages) - messages.scrollTop < 30;
}

/** How far down it is seen: all of it, or its beginning where it is longer than its place. */
function placeOfNewest(messages) {
  const top = (messages.lastElementChild?.offsetTop ?? 0) - messages.offsetTop;
  return Math.min(top, messages.scrollHeight - messages.clientHeight);
}

function fill(card, wanted, atNewest) {
  const newest = () => card.querySelector(".messages")?.lastElementChild?.id;
  const before = newest();
  if (!wanted.querySelector("[data-write]")) keepWhatIsWritten(card, wanted.classList.contains("compact") ? "" : "over");
  morph(card, wanted);
  if (atNewest && newest() !== before) scrollToNewest(card);
}

function scrollToNewest(card) {
  const messages = card.querySelector(".messages");
  if (messages) requestAnimationFrame(() => (messages.scrollTop = placeOfNewest(messages)));
}

function parts() {
  return [...cards.children, document.getElementById("calm"), document.getElementById("ended")];
}

for (const list of cards.querySelectorAll(".messages")) list.scrollTop = placeOfNewest(list);

// -- what a guardian writes -------------------------------------------------------------------------------------------

live.addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = event.target.elements.text;
  if (input.readOnly) return;
  const said = document.getElementById("said");
  const arrived = await write(socket, input, { wardId: event.target.dataset.write }, (why) => {
    if (!input.readOnly) said.textContent = words[`not_sent_${why}`];
  });
  for (const one of arrived ? [...said.childNodes] : []) if (!withoutUnsent(one.textContent, words)) one.remove();
  // What was kept has arrived after all.
  if (!input.value) input.closest(".unsent")?.remove();
});

outlive(() => [...cards.querySelectorAll("[data-write] input")]);

/** What somebody has begun to write stays on the page where its card has no field any more, for good or for now. */
function keepWhatIsWritten(card, why) {
  const { name, ward } = card.dataset;
  const isOver = why === "over";
  const sentence = why ? `${name}: ${words[`not_sent_${why}`]}` : name;
  // What was put aside for now, cannot be sent any more either.
  const aside = [...document.querySelectorAll("#kept [data-write]")].filter(({ dataset }) => dataset.write === ward);
  if (isOver) aside.forEach((form) => sayAside(form, sentence, isOver));
  const form = card.querySelector("[data-write]");
  if (form?.elements.text.value.trim()) putAside(form, sentence, isOver);
}

// Until now the page was about to say that it stands still.
document.documentElement.dataset.runs = "";
