// The ward's page: one session, carried on whatever happens to this page or its network.

import { keepAwake, letSleep } from "./awake.js";
import { awakeOrAsleep, clock, learn, now } from "./clock.js";
import { hold } from "./hold.js";
import { morph } from "./morph.js";
import { begins, howEnded, isRunning, later, ownPage, MOST_TOLD, quoted, unheard, writes } from "./own.js";
import { Share } from "./share.js";
import { Socket } from "./socket.js";
import { ofWhatIsUnsent, outlive, putAside, withoutUnsent, write } from "./write.js";

const AGAIN = 2000; // milliseconds
const SETTLES = 1500; // milliseconds: where a button was that starts or stops, there may be another one a moment later

const $ = (id) => document.getElementById(id);
const ward = $("ward");
const words = JSON.parse(ward.dataset.words);

let state = ward.dataset.state; // idle, starting, running, stopping
let changes = 0; // of the state
let watchers = 0; // times that others may have come to watch, or left
let started = Number(ward.dataset.start);
let [looking, lookAgain] = [false, false];
let fresh = []; // what others have written since the page was rendered that is shown
let nextTry = null; // of looking, where the server could not be asked
let wasAway = false;
let refused = false; // of the last connection the server has said why there is none
let awaySince = 0; // by the clock that goes on while the device sleeps
let overdue = false; // it was said that the session has probably ended
let noteSent = ""; // with the start
let noteUnsure = false; // it may have gone with the session that runs: its start has no answer
let startLost = false; // a start was asked for, and has no answer
let settling = null; // the timer after a start or an end, until when nothing is done by a second press
let stopLost = false; // a stop was asked for, and did not arrive or has no answer

learn(Number(ward.dataset.now));

// -- what the server says ---------------------------------------------------------------------------------------------

const received = {
  "session-started": (data) => {
    learn(Date.parse(data.timestamp));
    // Another one may have begun while this page was away.
    if (isUnderWay() && started !== Date.parse(data.startTime)) become("idle");
    const isNew = !isUnderWay();
    if (isNew) {
      begins(state === "starting" || startLost);
      delete ward.dataset.unshared;
    }
    startLost = false;
    started = Date.parse(data.startTime);
    ward.dataset.session = data.sessionId;
    become("running");
    if (data.durable === false) say(words.not_durable);
    else if (isNew) say(words.started);
    else if (stopLost) say(`${words.still_running} ${ofWhatIsUnsent(words)}`.trim(), "problem");
    stopLost = false;
    share.goOn(started);
    look();
  },
  "guardians-changed": ({ connectedGuardians }) => {
    watchers += 1;
    if (!connectedGuardians) forgetWhoWatches();
    look();
  },
  "session-ended": ({ reason }) => {
    become("idle");
    look();
    sayHowItEnded(reason);
  },
  "session-error": ({ code, event }) => {
    if (code === "authentication_required" || code === "account_inactive") return; // with that, the connection ends
    if (code === "no_active_session" && event === "stop-live-session") become("idle");
    else if (event === "start-live-session") {
      // It may have been started elsewhere meanwhile, and runs.
      if (state === "starting") become("idle");
      else if (code === "session_already_active") offerNote();
    } else if (event === "stop-live-session" && state === "stopping") become("running");
    else if (code === "no_active_session") look();
    say(words[code] ?? words.problem, "problem");
  },
  "location-acknowledged": () => share.arrived(),
  message: ({ from, text }) => {
    // It may take long to be seen among the messages.
    if (from.role !== "ward") {
      fresh.push(writes(`${from.firstName} ${from.lastName}`.trim(), text, words));
      tell(fresh);
    }
    look();
  },
};

const socket = new Socket("/ws/ward", {
  opened: () => {
    const [back, unsent] = [wasAway ? words.back : "", ofWhatIsUnsent(words)];
    // Of a start that has no answer, more is known in a moment; until then its ward does not believe that all is well.
    // How a session has ended, which a look has found meanwhile, stays said.
    const isSaid = wasAway && !unsent && !$("line").matches(".away");
    if (!startLost && !isSaid) say(`${back} ${unsent}`.trim(), unsent && "problem");
    wasAway = overdue = refused = false;
    allow();
    look();
  },
  received: (event, data) => received[event]?.(data),
  closed: (code, refusal) => {
    const before = refused;
    refused = `refused_${refusal}` in words;
    const [starting, stopping] = [state === "starting", state === "stopping"];
    if (starting) become("idle");
    if (stopping) become("running");
    allow();
    // Each try that fails ends here as well, and must not take away what was said meanwhile.
    if (starting) {
      startLost = true;
      say(words.start_unknown, "away");
    } else if (stopping) {
      stopLost = true;
      say(words.stop_unknown, "away");
    } else if (refused) {
      if (!before && !stopLost && !startLost) say(words[`refused_${refusal}`], "away");
    } else if (before || !wasAway) say(state === "idle" ? words.away_idle : words.away, "away");
    if (!wasAway) awaySince = awakeOrAsleep();
    wasAway = true;
    forgetWhoWatches();
  },
}, () => (isUnderWay() ? later(ward.dataset.grace) : 0));

const share = new Share((data) => state === "running" && socket.send("update-location", data));

/** Who was watching a moment ago, may watch no more: no comfort that may be false. The next look knows. */
function forgetWhoWatches() {
  watchers += 1;
  $("watching").classList.remove("somebody");
  // Whatever is written there is read aloud.
  const line = $("watching-line");
  if (line.textContent !== words.watching_unknown) line.textContent = words.watching_unknown;
  $("told-line").hidden = true;
}

/** Let the server render who is watching and what was written, and find out whether the session still runs. */
async function look() {
  lookAgain = looking;
  if (looking) return;
  clearTimeout(nextTry);
  looking = true;
  const [before, watchersBefore] = [changes, watchers];
  const page = await ownPage();
  looking = false;
  // What was rendered before a start knows nothing of it, and ends nothing.
  if (changes !== before) return look();
  const starting = page?.getElementById("ward").dataset.starting !== undefined;
  // Nobody else tells that the session has ended while there was no connection, nor that none has begun.
  if ((!page || (startLost && starting)) && socket.open) nextTry = setTimeout(look, AGAIN);
  if (!page) forgetWhoWatches();
  // Who will be told may be others by now.
  if (page) morph($("promise"), document.adoptNode(page.getElementById("promise")));
  if (page && startLost && socket.open && !starting && !isRunning(page)) {
    startLost = false;
    say(words.not_started, "problem");
  }
  if (page && state === "running") {
    if (!isRunning(page)) {
      become("idle");
      const over = changes;
      const reason = await howEnded(ward.dataset.session);
      if (changes === over) sayHowItEnded(reason);
      return;
    }
    if (noteUnsure) findNote(page.getElementById("ward").dataset);
    // Who has left since it was asked for, must not come back with it; the next look is under way then.
    if (socket.open && watchers === watchersBefore) morph($("watching"), document.adoptNode(page.getElementById("watching")));
    const newest = () => $("messages").lastElementChild?.id;
    const before = newest();
    morph($("messages"), document.adoptNode(page.getElementById("messages")));
    if (newest() !== before) scrollToNewest();
    const news = unheard($("messages"), words);
    tell(news, news.every((one) => fresh.includes(one)));
    if (!lookAgain) fresh = [];
  }
  if (lookAgain) look();
}

/** What others have written is said, and in sight: on a phone it would be behind the button that stops. */
function tell(news, isSaid = false) {
  if (!news.length) return;
  if (!isSaid) {
    const text = $("line").lastElementChild;
    // A warning stays.
    if (!$("line").matches(".away, .problem")) text.textContent = "";
    text.querySelectorAll(".written").forEach((told) => told.remove());
    text.append(...news.slice(-MOST_TOLD).map(quoted));
  }
  // Where it scrolls with the rest, it stays under the thumb instead.
  if (getComputedStyle($("stop").parentElement).position === "sticky") $("write").scrollIntoView({ block: "nearest" });
}

/** Of a newest message that is longer than its place, the beginning is seen. */
function scrollToNewest() {
  const messages = $("messages");
  messages.scrollTop = (messages.lastElementChild?.offsetTop ?? 0) - messages.offsetTop;
  keepInSight();
}

/** What comes in above it moves what is being written in to below the button that stops. */
function keepInSight() {
  if (document.activeElement.matches("input")) document.activeElement.scrollIntoView({ block: "nearest" });
}

// -- what is shown ----------------------------------------------------------------------------------------------------

function become(next) {
  const before = isUnderWay();
  state = next;
  changes += 1;
  ward.dataset.state = next;
  const running = isUnderWay();
  if (running !== before) settle();
  if (!running) {
    // Before the focus is looked for, which goes back to where it was. The answer would be one about the next session,
    $("sure").close("no");
    // and so would a hold that goes on.
    callOff();
    keepWhatIsWritten();
  }
  if ($("running").hidden === running) {
    const lost = $(running ? "idle" : "running").contains(document.activeElement);
    $("running").hidden = !running;
    $("idle").hidden = running;
    window.scrollTo(0, 0);
    // Where the focus was is gone. It goes on to no button: a key that is still held would press it.
    if (lost) $("main").focus({ preventScroll: true });
  }
  $("start").textContent = next === "starting" ? words.starting : $("start").dataset.label;
  $("stop").querySelector(".label").textContent = next === "stopping" ? words.stopping : $("stop").dataset.label;
  document.body.classList.toggle("under-way", running);
  if (running) keepAwake();
  else {
    share.end();
    forgetWhoWatches();
    $("messages").replaceChildren();
    $("messages").hidden = true;
    stopLost = false;
    fresh = [];
    $("stop-hint").classList.remove("loud");
    letSleep();
  }
  tick();
}

/** Whoever presses the button that stops once more, since they saw nothing happen yet, must not start the next one; nor
 * share their location by the one that starts. */
function settle() {
  clearTimeout(settling);
  settling = setTimeout(() => {
    settling = null;
    allow();
  }, SETTLES);
  allow();
}

function allow() {
  $("start").disabled = !socket.open || settling !== null;
  $("share").disabled = settling !== null;
}

function isUnderWay() {
  return state === "running" || state === "stopping";
}

function say(sentence, kind = "") {
  const line = $("line");
  line.className = `line ${kind}`;
  line.lastElementChild.textContent = sentence;
  keepInSight();
  if (kind) bringIntoSight(line);
}

/** In a low window, or in large letters, it goes with the page: who holds the button below would see nothing happen. */
function bringIntoSight(line) {
  if (getComputedStyle(line).position === "sticky" || document.activeElement.matches("input")) return;
  if (!$("stop").matches(".holding")) line.scrollIntoView({ block: "nearest" });
}

/** Whoever has not stopped it must not believe that somebody still watches. */
function sayHowItEnded(reason) {
  say(words[`ended_${reason}`] ?? words.ended, reason === "manual_stop" ? "" : "problem");
}

function tick() {
  const duration = $("duration");
  if (isUnderWay()) duration.textContent = clock(now() - started);
  duration.classList.toggle("long", duration.textContent.length > 7);
  share.tick();
  const tooLong = awakeOrAsleep() - awaySince > ward.dataset.grace * 1000;
  if (wasAway && isUnderWay() && !stopLost && !overdue && !refused && tooLong) {
    overdue = true;
    say(words.away_long, "away");
  }
}

// -- what is pressed --------------------------------------------------------------------------------------------------

$("start").dataset.label = $("start").textContent;
$("stop").dataset.label = $("stop").querySelector(".label").textContent;

// Whoever only closes the keyboard of a phone, must alarm nobody.
$("idle").addEventListener("submit", (event) => {
  event.preventDefault();
  $("note").blur();
});

$("start").addEventListener("click", () => {
  if (state !== "idle") return;
  if (!socket.open) return;
  const note = $("note").value.trim();
  [noteSent, noteUnsure] = [note, false];
  become("starting");
  socket.ask("start-live-session", note ? { note } : {}).then((answer) => {
    if (answer === "away") become("idle");
    if (answer === "unknown") noteUnsure = true;
    // What another device has begun was without it.
    if (answer === "session-started" && $("note").value.trim() === note) $("note").value = "";
  });
});

/** A start on another device was first, and without this note: it can be sent as a message, and does not wait unseen for
 * the next session. */
function offerNote() {
  if ($("text").value.trim()) return;
  $("text").value = $("note").value.trim();
  $("note").value = "";
}

/** Another device may have started what runs, or this one, and the answer did not come. */
function findNote({ note }) {
  noteUnsure = false;
  if ($("note").value.trim() !== noteSent) return;
  if (note === noteSent) $("note").value = "";
  else offerNote();
}

function stop() {
  if (state !== "running") return;
  stopLost = !socket.send("stop-live-session");
  if (stopLost) say(words.not_stopped, "away");
  else become("stopping");
}

const callOff = hold($("stop"), {
  done: stop,
  asked: () => {
    // Who breaks it off does not choose, and what was chosen the last time would count.
    $("sure").returnValue = "";
    $("sure").showModal();
  },
  hint: $("stop-hint"), // and not the line, where a warning may stand
  words: words.hold,
});
$("sure").addEventListener("close", () => $("sure").returnValue === "yes" && stop());

$("running").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = event.target.elements.text;
  const arrived = await write(socket, input, {}, (why) => {
    // The keyboard of a phone takes the place where that is said.
    if (matchMedia("(hover: none) and (pointer: coarse)").matches) input.blur();
    if (why !== "refused" && !input.readOnly) say(words[`not_sent_${why}`], "away");
  });
  if (arrived) takeBack();
  // It arrived just before the end.
  if (!input.value) input.closest(".unsent")?.remove();
});
$("kept").addEventListener("submit", (event) => event.preventDefault());

/** What was not sent has arrived after all: nothing more is said of it. A warning of something else stays. */
function takeBack() {
  const said = $("line").lastElementChild.firstChild;
  const rest = withoutUnsent(said?.data ?? "", words);
  if (!said?.data || rest === said.data) return; // or it begins with what others have written
  said.data = rest;
  if (rest !== words.still_running) $("line").className = "line";
}

/** What could not be sent any more stays to be copied, and is not said in the next session. */
function keepWhatIsWritten() {
  const form = $("write");
  if (!$("text").value.trim()) return;
  const fresh = form.cloneNode(true);
  fresh.reset();
  form.removeAttribute("id");
  form.after(fresh);
  putAside(form, words.not_sent_over, true);
}

// -- the screen and the shell -----------------------------------------------------------------------------------------

document.addEventListener("visibilitychange", () => {
  tick();
  if (state === "running") keepAwake();
  if (!document.hidden) look();
});
navigator.serviceWorker?.register(ward.dataset.worker).catch(() => {});
setInterval(tick, 1000);
setInterval(() => document.hidden || look(), 60_000); // who would be told, may be others by now
tick();
if (state === "running") become("running");
const written = () => (state === "idle" ? [$("note"), $("text")] : [$("text")]);
if (!outlive(written, () => started)) keepWhatIsWritten();
$("stop").disabled = false;
// Who watches may take some of its place, and so does a telephone that is turned.
new ResizeObserver(scrollToNewest).observe($("messages"));

// Until now the page was about to say that it stands still.
document.documentElement.dataset.runs = "";
