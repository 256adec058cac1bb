// A connection to the server that comes back by itself and knows when it is gone.

import { now } from "./clock.js";

const PAUSES = [300, 1000, 2000, 4000, 8000];
const FEW = 2; // tries after which the pauses are short still
const QUIET = 6000; // without a word for so long, ask
const PATIENCE = 4000; // and without an answer for so long, it is gone
const OPENING = 10000; // for so long it may take to open
const SLEEP = { guardian: 30500, ward: 10500 }; // after so long without a sign of life the server has given it up
const ASKING = 2000; // for so long an answer that nobody is there is waited for
const RELOAD = 1000;
const LOST = 4000; // the close code for a connection that was given up
const LEFT = 1001; // and the browser's own, where the page is left
const LEAVING = 1000; // that may take so long

/** Whether it is they to whom this page belongs. */
export const isOfViewer = (person) => person === document.body.dataset.viewer;

/** Who is signed in in this browser now; null where nobody is, undefined where it cannot be known. */
export async function whoIsHere() {
  const person = await askWhoIsHere();
  if (person !== null) return person;
  // While another password is being chosen in another window, nobody is for a moment.
  await new Promise((resolve) => setTimeout(resolve, RELOAD * 2));
  return askWhoIsHere();
}

async function askWhoIsHere() {
  try {
    const answer = await fetch("/api/me", { redirect: "manual", signal: AbortSignal.timeout?.(8000) });
    if (answer.status === 401) return null;
    return answer.ok ? (await answer.json()).id : undefined;
  } catch {
    return undefined;
  }
}

/** Whether it is known that the server cannot be had: a proxy may say so, or keep this address to itself. What hangs may
 * be an old connection of the browser's; in Safari 15, which knows no such limit, it is waited for. */
async function isGone() {
  try {
    return (await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout?.(ASKING) })).status >= 500;
  } catch (problem) {
    return problem.name !== "TimeoutError";
  }
}

export class Socket {
  /** `path` of the socket; `on` has any of opened(), received(event, data), closed(code, refusal), signedOut();
   * `later` says how many more milliseconds to wait before the first try to come back. */
  constructor(path, on, later = () => 0) {
    this.path = path;
    this.isGuardians = path.startsWith("/ws/guardian");
    this.on = on;
    this.later = later;
    this.tries = 0;
    this.asked = 0;
    this.answers = new Map();
    this.open = false;
    this.finished = false;
    this.connect();
    this.isAwake();
    setInterval(() => this.listen(), 1000);
    addEventListener("online", () => this.hurry());
    addEventListener("offline", () => this.lose());
    document.addEventListener("visibilitychange", () => (document.hidden ? this.isAwake() : this.hurry()));
  }

  /** Send an event; false when there is no connection that could take it. */
  send(event, data, id) {
    // Who still does something, is not leaving the page.
    if (this.open && this.socket.readyState === WebSocket.CLOSED) this.lost(LEFT);
    if (!this.open || this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify({ event, data, id }));
    return true;
  }

  /** Send an event and wait for the name of its answer; "away" without a connection, "unknown" where it goes before. */
  ask(event, data) {
    return new Promise((resolve) => {
      const id = String(++this.asked);
      if (this.send(event, data, id)) this.answers.set(id, resolve);
      else resolve("away");
    });
  }

  answer(id, event) {
    this.answers.get(id)?.(event);
    this.answers.delete(id);
  }

  connect() {
    clearTimeout(this.waiting);
    const url = new URL(this.path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    // Another login may have taken the place of this page's, and what it would hear and do is not for this page.
    url.searchParams.set("viewer", document.body.dataset.viewer);
    const socket = new WebSocket(url);
    this.socket = socket;
    this.heard = performance.now();
    this.heardAt = now(); // the same by the server's clock, as it was known then: a device may sleep
    this.pinged = null; // when an answer was asked for that has not come
    this.refusal = null; // the code of why it was not let in
    socket.onopen = () => {
      this.heard = performance.now();
      // Whoever is not let in is told so when the line stands: it is open with the first word that says something else.
      socket.send('{"event":"ping"}');
    };
    socket.onmessage = ({ data }) => {
      this.heard = performance.now();
      this.heardAt = now();
      this.pinged = null;
      const { event, data: content, replyTo } = JSON.parse(data);
      if (!this.open && event === "session-error") return (this.refusal = content.code);
      if (!this.open) {
        this.open = true;
        this.on.opened?.();
      }
      // Of a guardian, the answer to the first ping says nothing yet: what they missed may be on its way for long.
      if (event !== "session-error" && (event !== "pong" || !this.isGuardians)) this.tries = 0;
      this.answer(replyTo, event);
      if (event !== "pong") this.on.received?.(event, content);
    };
    socket.onclose = ({ code }) => {
      if (socket !== this.socket) return;
      // Firefox ends it as soon as another page is asked for: whoever is about to see that one, need not be alarmed.
      if (this.open && code === LEFT) setTimeout(() => this.open && socket === this.socket && this.lost(code), LEAVING);
      else this.lost(code);
    };
  }

  lost(code) {
    this.open = false;
    for (const id of this.answers.keys()) this.answer(id, "unknown");
    const isSignedOut = code === 4401;
    this.on.closed?.(code, isSignedOut ? "signed_out" : this.refusal);
    if (isSignedOut) {
      // Signed out, or disabled: the server says so on the page itself. Where it was another password, and this browser
      // chose it, it is being signed in anew.
      this.finished = true;
      setTimeout(() => this.comeBack(), RELOAD);
      return;
    }
    // Whoever is to be back first, had a chance by the second try; from then on, to be back at all is what counts.
    const later = this.tries ? 0 : this.later();
    const pause = PAUSES[Math.min(this.tries++, PAUSES.length - 1)] * (0.75 + Math.random() / 2);
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.tryAgain(), pause + later);
  }

  /** Firefox counts the tries of all pages that fail, and lets the next one wait for up to a minute, whether or not the
   * network is back meanwhile: where one has failed, there is another when the server can be had. */
  async tryAgain() {
    const last = this.socket;
    const gone = this.tries > 1 && (await isGone());
    if (this.finished || this.socket !== last) return;
    if (!gone) return this.connect();
    this.refusal = null;
    this.lost();
  }

  /** Where the same person is still signed in here, nothing of the page need be lost. */
  async comeBack() {
    const person = await whoIsHere();
    if (person === undefined) setTimeout(() => this.comeBack(), RELOAD * 2);
    else if (isOfViewer(person)) {
      this.finished = false;
      this.connect();
    } else if (person === null && this.on.signedOut) this.on.signedOut();
    // Later than a guardian's socket of the same page, which says it aloud first.
    else setTimeout(() => location.reload(), RELOAD * 2);
  }

  /** Nothing can come any more: do not wait for the network to find out. */
  lose() {
    if (this.finished) return;
    const socket = this.socket;
    socket.onclose = socket.onmessage = socket.onopen = null;
    // Never a close without a code: that would be the ward's own word, and end the session.
    socket.close(LOST);
    this.lost();
  }

  hurry() {
    if (this.finished) return;
    if (this.open && !this.isAwake()) return this.lose();
    if (this.open) return this.ping();
    if (this.socket.readyState <= WebSocket.OPEN) return;
    // Where a network is only just back, the first try may be too early: the next one waits no longer for the others.
    this.tries = Math.min(this.tries, FEW);
    this.tryAgain();
  }

  /** False once after a long sleep. In it the clock that measures stands still on most devices; on others, the page was
   * seen and did not run. */
  isAwake() {
    const here = { run: performance.now(), date: Date.now(), seen: !document.hidden };
    const { run, date, seen } = this.looked ?? here;
    this.looked = here;
    const [ran, passed] = [here.run - run, here.date - date];
    return Math.max(passed - ran, seen ? ran : 0) < (this.isGuardians ? SLEEP.guardian : SLEEP.ward);
  }

  listen() {
    const isAwake = this.isAwake();
    if (this.finished || this.socket.readyState > WebSocket.OPEN) return;
    const quiet = performance.now() - this.heard;
    const unanswered = this.pinged === null ? 0 : performance.now() - this.pinged;
    // Silence alone says nothing: of a page in the background, the browser slows the timers down to one turn a minute.
    if (!isAwake || unanswered > PATIENCE || (!this.open && quiet > OPENING)) this.lose();
    else if (quiet > QUIET) this.ping();
  }

  ping() {
    if (this.pinged === null && this.send("ping")) this.pinged = performance.now();
  }
}
