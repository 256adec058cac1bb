// A ward's own session, seen from any page.

import { fetchPage } from "./fetched.js";
import { keep, kept, recall, remember } from "./kept.js";
import { Socket } from "./socket.js";

export const MOST_TOLD = 3; // messages that a line says at once; all of them stand on the ward's page
const AGAIN = 2000; // milliseconds
const EVERY = 60_000;
const LATER = 11000; // more than the longest that the others wait

/** How much later than the ward's other devices this one is to try to come back, once in each outage. Whoever is first,
 * carries the session on; a window in which it was not started, and that nobody has used since, may stand at home. */
export const later = (grace) => (kept("sessionStorage", "used") ? 0 : Math.min(LATER, (grace * 1000) / 3));

/** A session begins, in this window or elsewhere. */
export function begins(here) {
  keep("sessionStorage", "used", here);
  hear("nothing");
}

for (const gesture of ["pointerdown", "keydown"]) addEventListener(gesture, () => keep("sessionStorage", "used", true));

/** The switch of a session that began then: whether its location is to be shared from this window. */
export const shareOf = (start) => `share-${start}`;

/** Whether the location of a session was shared, and is not unless this page does it: from this window, or from one that
 * is gone. Of that one the server tells; what the window itself knows, counts more. */
export function isUnshared({ start, unshared }) {
  const here = recall("sessionStorage", shareOf(start));
  return here ? here === "on" : unshared !== undefined;
}

/** The ward's page as the server renders it now; null when it cannot be had, undefined where nobody is signed in. */
export async function ownPage() {
  const { page, stranger } = await fetchPage("/ward");
  if (stranger) return undefined;
  return page?.getElementById("ward") ? page : null;
}

/** How this session has ended while nobody could say it: the reason; "away" where it cannot be known. */
export async function howEnded(id) {
  const { page } = await fetchPage(`/history/${id}`);
  return page?.getElementById(`s-${id}`)?.dataset.reason ?? "away";
}

/** What the page of a running session says, rendered for a ward. */
export const isRunning = (page) => page.getElementById("ward").dataset.state === "running";

/** What others have written since this window was told, as the server renders the `messages` of the running session. To
 * be asked for once. */
export function unheard(messages, words) {
  const all = [...messages.querySelectorAll("li:not(.mine)")];
  const before = recall("sessionStorage", "heard");
  hear(all.at(-1)?.id ?? "nothing");
  // What stands there when a window is new, or knows another session, may be old.
  const place = all.findIndex(({ id }) => id === before);
  const news = before === "nothing" ? all : place < 0 ? [] : all.slice(place + 1);
  return news.map((one) => writes(one.querySelector("bdi").textContent, one.querySelector(".text").textContent, words));
}

/** The newest message of which this window was told. */
function hear(id) {
  remember("sessionStorage", "heard", id);
}

/** What somebody writes, as it is being said. */
export function writes(name, text, words) {
  const values = { "{name}": name, "{text}": text };
  return words.writes.replace(/{name}|{text}/g, (part) => values[part]);
}

/** The same in a line, where only its beginning is seen: all of it stands on the ward's page. */
export function quoted(sentence) {
  const quote = document.createElement("span");
  quote.className = "written";
  quote.dir = "auto";
  quote.textContent = sentence;
  return quote;
}

/** Carry the session on while its ward looks at another page, and say there how it stands. */
export function carryOn(line) {
  const words = JSON.parse(line.dataset.words);
  let changes = 0; // of what the line says
  let overdue = null; // the timer of saying that the session has probably ended
  let told = []; // what was written lately
  let looking = false;
  let lookAgain = false;
  let nextTry = null; // of looking, where the server could not be asked
  let refused = false; // of the last connection the server has said why there is none
  say("running");

  const socket = new Socket("/ws/ward", {
    opened: () => {
      refused = false;
      look();
    },
    received: (event, data) => {
      if (event === "session-started") {
        const start = String(Date.parse(data.startTime));
        if (start !== line.dataset.start) {
          told = [];
          hear("nothing");
          delete line.dataset.unshared;
        }
        line.dataset.start = start;
        line.dataset.session = data.sessionId;
        say("running");
      } else if (event === "message" && data.from.role !== "ward") {
        told = [writes(`${data.from.firstName} ${data.from.lastName}`.trim(), data.text, words)];
        say("running", "running", true);
        look();
      } else if (event === "session-ended") over(data.reason);
    },
    closed: (code, refusal) => {
      if (line.dataset.state === "over") return;
      const before = refused;
      refused = `refused_${refusal}` in words;
      // Another page carries it on, perhaps; this one knows nothing of it.
      if (refused) return say(`refused_${refusal}`, "away");
      if (line.dataset.state === "away" && !before) return;
      told = [];
      say("away");
      overdue = setTimeout(() => socket.open || say("away_long", "away"), line.dataset.grace * 1000);
    },
  }, () => later(line.dataset.grace));

  // The page that shared the location may be gone, or one may share it again: nobody else tells of that.
  const lookNow = () => document.hidden || line.dataset.state !== "running" || look();
  document.addEventListener("visibilitychange", lookNow);
  setInterval(lookNow, EVERY);

  /** Nobody else tells that the session has ended while there was no connection. */
  async function look() {
    // One after the other: an answer that overtakes another would tell what was written before it as newer.
    lookAgain = looking;
    if (looking) return;
    clearTimeout(nextTry);
    looking = true;
    const before = changes;
    const page = await ownPage();
    looking = false;
    if (lookAgain) return look();
    const isLate = changes !== before || !socket.open;
    if (page && isRunning(page)) catchUp(page);
    if (isLate) return;
    if (!page) nextTry = setTimeout(look, AGAIN);
    else if (isRunning(page)) say("running");
    else if (line.dataset.state !== "over") {
      const reason = await howEnded(line.dataset.session);
      if (changes === before) over(reason);
    }
  }

  /** Nor what was written meanwhile; of an earlier session, it is no news. */
  function catchUp(page) {
    const { start, unshared } = page.getElementById("ward").dataset;
    if (start !== line.dataset.start) return;
    line.toggleAttribute("data-unshared", unshared !== undefined);
    const news = unheard(page.getElementById("messages"), words);
    if (news.length) told = news.slice(-MOST_TOLD);
    if (line.dataset.state === "running") say("running");
  }

  function over(reason) {
    say(`ended_${reason}`, "over");
  }

  /** What is `new` is said also where it is the same as before. */
  function say(sentence, state = sentence, isNew = false) {
    changes += 1;
    clearTimeout(overdue);
    line.dataset.state = state;
    const status = line.querySelector("[role=status]");
    const text = words[sentence] ?? words.ended;
    const quotes = state === "running" ? told.map(quoted) : [];
    const before = status.textContent;
    const all = [...quotes.map(({ textContent }) => textContent), text].join(" ");
    if (isNew || before !== all) status.replaceChildren(...quotes.flatMap((quote) => [quote, " "]), text);
    // Only the ward's page shares it; whoever had that switched on must know.
    document.getElementById("unshared").hidden = state !== "running" || !isUnshared(line.dataset);
  }
}
