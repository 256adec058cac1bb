// What a guardian's page learns of the wards while it is open: told once and in a sentence; and whether it still learns.

import { announce, lead, prepare, showInTab } from "./announce.js";
import * as away from "./away.js";
import { learn, now, run } from "./clock.js";
import { fetchPage } from "./fetched.js";
import { newsOf, unread, wordsSince } from "./messages.js";
import { Socket } from "./socket.js";
import { ofWhatIsUnsent } from "./write.js";

const PATIENCE = 2000; // a ward who turned a page is back by then, and nobody need be alarmed
const LATELY = 5000; // what was said so long ago, may not have been read yet
const AGAIN = 2000;
const LONG = 30000; // and no pause is longer
const HEARD = 1500; // so long sounds what is said before the page goes
const RESTARTS = 1012; // the close code of a server that restarts
const RETURNING = 10000; // after that everybody comes back at a moment of their own, at the latest about then
const UNSURE = 1000; // how far this clock and the server's may be apart
const MOST_SAID = 200;

const live = document.getElementById("live");
const icons = JSON.parse(live.dataset.icons);

export const words = JSON.parse(live.dataset.words);

export let socket = null;
let shown = null; // gives the elements of the sessions that the page shows
let sessions = null; // those that run: the ward's `name`, if `lost`, if `heard` of, and the timer of a new `loss`
let current = true; // what is shown was true a moment ago
let written = null; // when each session's ward had written last, at the moment up to which all was told
let lately = []; // what was said since then, and when
let outages = 0; // times that the connection went
let hearing = false; // the connection is there
let restarted = false; // the server had ended the last one, to start anew
let deaf = now(); // since when something may have been told that this page has not heard
let leaving = false; // this browser is signed out, and that is being said
let seq = Number(live.dataset.seq); // the newest event of the journal that the page knows or has heard

const over = new Map(); // sessions of which it was said that they have ended, and when

/** Begin. `elements` gives those of the sessions that the page shows, `ask` hears what the server has to render. */
export function watch(elements, ask) {
  learn(Number(live.dataset.now));
  deaf = now();
  away.wasTrue(deaf);
  run(live, words);
  // They are wanted when the server cannot be had, and it may be of another version then.
  Object.values(icons).forEach((icon) => (new Image().src = icon));
  prepare(...["sound", "notify", "mute", "refused"].map((id) => document.getElementById(id)));
  navigator.serviceWorker?.register(live.dataset.worker).catch(() => {});
  navigator.serviceWorker?.addEventListener("message", ({ data }) => lead(data));
  shown = elements;
  sessions = new Map(shown().map(({ id, dataset }) => [id.slice(2), { name: dataset.name, lost: dataset.state === "lost" }]));
  showState();
  // Also before the first connection, what happens is said: it may take long to come about. Only what stood here before
  // is no news.
  lapse();
  shown().forEach((session) => newsOf(session, 0));
  socket = new Socket(`/ws/guardian?since=${seq}`, {
    opened: away.opened,
    received: (event, data) => {
      if (event === "guardian:snapshot") hearing = true;
      hear(event, data);
      stand(event, data);
      ask(event, data);
    },
    signedOut,
    closed: (code, refusal) => {
      away.lost(words[`refused_${refusal}`] ?? "");
      // Where not all is told yet, what happened since then is still news.
      if (!written) deaf = heardUntil();
      if (hearing) {
        restarted = code === RESTARTS;
        if (current) away.wasTrue(deaf);
      }
      current = false;
      outages += 1;
      // A loss that was to be said in a moment may be over when the connection is back: what is then, counts.
      [...sessions.keys()].forEach(spare);
      showState();
      hearing = false;
    },
  });
}

/** Nothing more is heard of anybody, which must not be taken for quiet. The page that follows says so as well. */
export function signedOut() {
  if (leaving) return;
  leaving = true;
  announce([{ kind: "lost", sentence: words.signed_out, about: "" }]);
  setTimeout(() => location.reload(), HEARD);
}

/** Whether the page shows a session of which the socket does not tell: to an admin, or one's own. */
export const untold = () => shown().some(({ id }) => !sessions.get(id.slice(2))?.heard);

/** To be kept while the server is asked, and given to rendered(). */
export const connection = () => ({ outages, hearing });

/** What is shown was rendered a moment ago, asked for over this connection(), or could not be. */
export function rendered(ok, asked) {
  // What was asked for before an outage, or before the page heard again, does not know all that happened during it.
  const fresh = ok && asked.outages === outages;
  // Before it has ever been connected, nothing is lost.
  current = fresh && (asked.hearing || !outages);
  if (fresh) away.wasTrue(now());
  const isBack = current && away.isAway();
  showState();
  if (current && asked.hearing && written) sayWhatWasMissed(isBack);
}

// -- what the socket says ---------------------------------------------------------------------------------------------

/** Say from now on, when the connection is back, what this page has heard: another device may have heard more. */
function stand(event, data) {
  if (event === "guardian:snapshot" || data.seq > seq) seq = data.seq;
  socket.path = `/ws/guardian?since=${seq}`;
}

/** Something happened to a session. What is known already is not told again. */
export function hear(event, data) {
  happened[event]?.(data);
}

const happened = {
  "guardian:snapshot": ({ sessions: running }) => {
    const ids = new Set(running.map(({ sessionId }) => sessionId));
    const gone = [...sessions].filter(([id, { heard }]) => heard && !ids.has(id)).map(([id]) => id);
    // Those of them that have ended are told next; what is asked for now, is answered after that.
    const find = (answer) => answer === "pong" && gone.filter((id) => sessions.has(id)).forEach(findOut);
    if (gone.length) socket.ask("ping").then(find);
  },
  "guardian:session-started": ({ sessionId, startTime, state, ...ward }) => {
    const before = sessions.get(sessionId);
    const interrupted = state === "interrupted";
    // After a restart of the server all are, and their wards about to be back.
    const waits = interrupted && restarted && before && !before.lost;
    const lost = interrupted && !waits && !before?.loss;
    sessions.set(sessionId, { ...before, name: nameOf(ward), lost, heard: true });
    // An end that was told may have gone down with the server.
    over.delete(sessionId);
    nothingReadOf(sessionId, startTime);
    // Said of a session that is known already, it tells what happened to it while there was no connection.
    if (waits) mayBeLost(sessionId, RETURNING);
    else if (lost && !before?.lost) tell("lost", sessionId);
    else if (!before) tell("started", sessionId);
    else if (before.lost && !lost) tell("resumed", sessionId);
  },
  "session-interrupted": ({ sessionId }) => mayBeLost(sessionId),
  "session-resumed": ({ sessionId }) => {
    if (spare(sessionId)) return;
    if (sessions.has(sessionId)) sessions.get(sessionId).lost = false;
    tell("resumed", sessionId);
  },
  "session-ended": ({ sessionId, reason, startTime, ...ward }) => {
    spare(sessionId);
    // The page may have told it already.
    if (over.has(sessionId)) return;
    // It may have begun as well while there was no connection. What was over before that is no news.
    if (Date.parse(startTime) >= deaf && !sessions.has(sessionId)) {
      sessions.set(sessionId, { name: nameOf(ward) });
      nothingReadOf(sessionId, startTime);
    }
    tell(reason === "manual_stop" ? "ended" : `ended_${reason}`, sessionId);
    sessions.delete(sessionId);
    over.set(sessionId, performance.now());
  },
  "guardian:access-revoked": ({ sessionId }) => revoke(sessionId),
  message: ({ from, sessionId, text, timestamp }) => {
    if (from.role !== "ward") return;
    const name = called(sessionId) ?? `${from.firstName} ${from.lastName}`.trim();
    const news = unread(sessionId, name, Date.parse(timestamp), text);
    if (news.length) say(news);
  },
};

const nameOf = ({ wardFirstName, wardLastName, wardEmail }) => `${wardFirstName} ${wardLastName}`.trim() || wardEmail;

/** As the page calls a session's ward now: by the email as well, where two have one name. */
const called = (sessionId) => document.getElementById(`s-${sessionId}`)?.dataset.name ?? sessions.get(sessionId)?.name;

/** A session is gone, and nobody has told how: it may be over for long, or not be this guardian's to know of. */
async function findOut(sessionId) {
  const story = await storyOf(sessionId);
  if (!sessions.has(sessionId)) return;
  // An admin may see what they do not watch.
  if (story === null || story?.dataset.state) revoke(sessionId);
  else if (story?.dataset.reason) happened["session-ended"]({ sessionId, reason: story.dataset.reason });
  else if (socket.open) setTimeout(findOut, AGAIN, sessionId);
}

/** What the page of a session tells; null where there is none for this guardian, undefined where it cannot be had. */
async function storyOf(sessionId) {
  const { page, refused } = await fetchPage(`/history/${sessionId}`);
  return refused ? null : (page?.getElementById(`s-${sessionId}`) ?? undefined);
}

function revoke(sessionId) {
  spare(sessionId);
  tell("revoked", sessionId);
  sessions.delete(sessionId);
}

function tell(kind, about) {
  const session = sessions.get(about);
  if (!session) return;
  const sentence = (words[kind] ?? words.ended_somehow).replace("{name}", () => called(about));
  // Whatever ends a session but its ward is as loud as a loss.
  say([{ kind: kind.startsWith("ended_") ? "lost" : kind, sentence, about }]);
}

/** Say what happens; or what was missed, before which stands once more what was said meanwhile. */
function say(news, wasMissed = false) {
  const at = performance.now();
  announce(news, wasMissed ? lately.filter(isFresh) : undefined);
  lately = [...lately, ...news.map((one) => ({ ...one, at }))].slice(-MOST_SAID);
}

/** Whether this was said a moment ago. */
const isFresh = ({ at }) => performance.now() - at < LATELY;

/** From now on something may be missed. */
function lapse() {
  if (written) return;
  written = lastWords();
  lately = [];
}

function mayBeLost(sessionId, patience = PATIENCE) {
  spare(sessionId);
  if (!sessions.has(sessionId)) return;
  sessions.get(sessionId).loss = setTimeout(() => {
    if (!spare(sessionId)) return;
    sessions.get(sessionId).lost = true;
    tell("lost", sessionId);
  }, patience);
}

/** A loss that has not been said yet need not be. Whether there was one. */
function spare(sessionId) {
  const session = sessions.get(sessionId);
  if (!session?.loss) return false;
  clearTimeout(session.loss);
  session.loss = null;
  return true;
}

// -- what the page knows ----------------------------------------------------------------------------------------------

function showState() {
  live.classList.toggle("stale", !current);
  if (!current) lapse();
  const all = shown();
  const worrying = document.querySelector("#worrying a, #page [data-until]");
  showInTab(words.title, icons, all.length, !current || worrying || all.some(({ dataset }) => dataset.state === "lost"));
  away.show(current);
}

/** Up to when everything was heard, by the server's clock. That a connection is gone may be noticed long after that. */
function heardUntil() {
  return hearing ? socket.heardAt - UNSURE : deaf;
}

/** When the ward of each session wrote last, as far as the page shows it and it was heard. */
function lastWords() {
  const until = heardUntil();
  const ended = [...over].filter(([, at]) => at > (socket?.heard ?? 0) - UNSURE).map(([id]) => id);
  const moments = new Map([...sessions.keys(), ...ended].map((id) => [`s-${id}`, until]));
  const lastOf = (session) => Number(wordsSince(session, 0).at(-1)?.dataset.moment ?? 0);
  shown().forEach((session) => moments.set(session.id, Math.min(lastOf(session), until)));
  return moments;
}

/** Of a session that begins meanwhile, everything that is written is to be told. */
function nothingReadOf(sessionId, startTime) {
  const id = `s-${sessionId}`;
  // Where it is older, this guardian was accepted just now, and all that was written before is no news.
  if (written && !written.has(id)) written.set(id, Date.parse(startTime) >= deaf ? 0 : deaf);
}

/** The connection stands, or is back: what was written meanwhile is as loud as if it was written now. All else was said
 * when the page heard of it, a moment ago perhaps. */
async function sayWhatWasMissed(isBack) {
  lately = lately.filter(isFresh);
  const moments = written;
  const before = (id) => moments.get(id) ?? 0;
  const writing = shown().filter((session) => wordsSince(session, before(session.id)).length);
  // Before a last word, heard or not, there may have been others, which may be those that count.
  const isShort = (session) => session.querySelector(".last-word") !== null;
  const news = writing.filter((session) => !isShort(session)).flatMap((session) => newsOf(session, before(session.id)));
  const elsewhere = new Map(writing.filter(isShort).map((session) => [session.id, session]));
  const here = new Set(shown().map(({ id }) => id));
  // What the socket does not tell of, to an admin or of one's own, is over when it is not shown any more.
  for (const [id, { heard }] of sessions) {
    if (heard || here.has(`s-${id}`)) continue;
    moments.delete(`s-${id}`);
    sessions.delete(id);
  }
  [...moments.keys()].filter((id) => !here.has(id)).forEach((id) => elsewhere.set(id, null));
  if (news.length) say(news, true);
  written = null;
  await sayWhatOthersTell(elsewhere, before);
  // It may be gone once more by now; then this is said after the next outage.
  if (!current) return;
  const wasTold = away.takeBack();
  const sentences = [isBack && (wasTold || !lately.length) && words.back, ofWhatIsUnsent(words)].filter(Boolean);
  // What nobody was told of, nobody need hear the end of.
  const kind = wasTold ? "resumed" : "";
  if (sentences.length) say(sentences.map((sentence) => ({ kind, sentence, about: "" })), true);
}

/** What was written in sessions that have ended meanwhile, or of which there is only the last word here, their own pages
 * tell; where those cannot be had, what stands here. */
async function sayWhatOthersTell(sessions, before) {
  const tellOf = async ([id, here]) => {
    const story = (await storyInTheEnd(id.slice(2))) ?? here;
    const news = story ? newsOf(story, before(id)) : [];
    if (news.length) say(news, true);
  };
  await Promise.all([...sessions].map(tellOf));
}

/** The same as storyOf(), asked for again where it cannot be had: so soon after an outage that may well be. */
async function storyInTheEnd(sessionId) {
  for (let pause = AGAIN; pause < LONG; pause *= 2) {
    const story = await storyOf(sessionId);
    if (story !== undefined) return story;
    await new Promise((resume) => setTimeout(resume, pause));
  }
  return storyOf(sessionId);
}
