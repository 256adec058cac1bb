// The page of one session: it watches this ward and tells of the others, and never shows as live what it does not know.

import { isOver, learn, refresh } from "./clock.js";
import { fetchPage } from "./fetched.js";
import { morphChildren } from "./morph.js";
import { connection, hear, rendered, signedOut, socket, watch, words } from "./news.js";
import { whoIsHere } from "./socket.js";
import { allowToSend, outlive, write } from "./write.js";

const SPACING = 1000; // at most one rendering a second
const EVERY = 3000; // and one at least so often, for what the socket does not tell

const live = document.getElementById("live");
const page = document.getElementById("page");
const running = () => [...page.querySelectorAll("[data-state]")];

let asked = performance.now();
let asking = false;
let again = false;
let failures = 0; // in a row
let timer = null;
let gone = false; // this session may not be seen any more

watch(running, (event) => {
  // The server is there again: nothing waits as long any more as it was asked for in vain.
  if (event === "guardian:snapshot") failures = 0;
  // Places are many, and come with the next rendering anyway.
  if (event !== "location-updated") ask();
});

function ask() {
  again = true;
  if (!asking) plan();
}

function plan() {
  clearTimeout(timer);
  timer = setTimeout(look, Math.max(0, asked + (again ? SPACING * 2 ** Math.min(failures, 3) : EVERY) - performance.now()));
}

async function look() {
  // What is not there may be there again: an end that the journal could not take for a while.
  asking = again || (!document.hidden && (gone || running().length > 0 || isOver(page)));
  again = false;
  asked = performance.now();
  const over = connection();
  if (asking) {
    // Whatever goes wrong, what is not shown must not pass for live.
    const ok = await fetched().catch((fault) => {
      reportError(fault);
      return false;
    });
    failures = ok ? 0 : failures + 1;
    rendered(ok, over);
    // Over an open connection, what could not be had is asked for again: nobody else may say anything for long.
    again ||= !ok && socket.open;
  }
  asking = false;
  plan();
}

async function fetched() {
  const { page: fetchedPage, refused, stranger } = await fetchPage(location.href);
  if (stranger && (await whoIsHere()) === null) return signedOut();
  if (!fetchedPage) return false;
  gone = refused;
  show(fetchedPage);
  return true;
}

function show(fetchedPage) {
  const wanted = document.adoptNode(fetchedPage.getElementById("page") ?? fetchedPage.getElementById("main"));
  if (!gone) learn(Number(fetchedPage.getElementById("live").dataset.now));
  const focused = page.contains(document.activeElement);
  const place = placeToWrite();
  keepWhatIsWritten(wanted);
  morphChildren(page, wanted);
  refresh(live, words);
  // What comes in above it, is seen where it ends, and takes the field away from under no finger.
  if (place?.isSeen) scrollBy(0, (placeToWrite()?.top ?? place.top) - place.top);
  // Where the focus was may be gone.
  if (focused && document.activeElement === document.body) document.getElementById("main").focus({ preventScroll: true });
  // An end that the socket does not tell, to an admin say, is told as well.
  const ended = page.querySelector("article[data-reason]");
  if (ended) hear("session-ended", { sessionId: ended.id.slice(2), reason: ended.dataset.reason });
}

/** Where the field to write in is just now. */
function placeToWrite() {
  const box = document.getElementById("write")?.getBoundingClientRect();
  return box && { top: box.top, isSeen: box.top > 0 && box.bottom < innerHeight };
}

// -- what a guardian writes -------------------------------------------------------------------------------------------

outlive(() => [...page.querySelectorAll("#write input:not([readonly])")]);

/** What somebody has begun to write stays in its field, even when it cannot be sent any more. */
function keepWhatIsWritten(wanted) {
  const [ours, theirs] = [document.getElementById("write"), wanted.querySelector("#write")];
  const input = ours?.querySelector("input");
  if (!input || !(theirs || input.value)) return;
  // It can be sent again where its writer was accepted anew.
  if (input.readOnly === Boolean(theirs)) {
    allowToSend(ours.querySelector("form"), Boolean(theirs));
    sayUnsent(theirs ? "" : "over");
  }
  const kept = ours.cloneNode(true);
  if (theirs) theirs.replaceWith(kept);
  else (wanted.querySelector(".panels > :last-child") ?? wanted).append(kept);
}

function sayUnsent(why) {
  document.getElementById("unsent").textContent = words[`not_sent_${why}`] ?? "";
}

page.addEventListener("submit", async (event) => {
  const { write: wardId } = event.target.dataset;
  if (!wardId) return;
  event.preventDefault();
  const input = event.target.elements.text;
  if (input.readOnly) return;
  sayUnsent("");
  await write(socket, input, { wardId }, (why) => sayUnsent(input.readOnly ? "over" : why));
  // It arrived just before the end.
  if (input.readOnly && !input.value) document.getElementById("write").remove();
});

// Until now the page was about to say that it stands still.
document.documentElement.dataset.runs = "";
