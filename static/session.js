// The page of a session that still runs: it keeps watching, and never shows as live what it does not know.

import { learn, now, run, timeOfDay } from "./clock.js";
import { morphChildren } from "./morph.js";
import { Socket } from "./socket.js";
import { write } from "./write.js";

const SPACING = 1000; // at most one rendering a second
const EVERY = 3000; // and one at least so often, for what the socket does not tell

const main = document.getElementById("main");
const away = document.getElementById("away");
const { ward, zone, hours, ...data } = away.dataset;
const words = JSON.parse(data.words);
const time = timeOfDay(zone, hours);

let asked = performance.now();
let asking = false;
let again = false;
let timer = null;
let current = true; // what is shown was true a moment ago

learn(Number(data.now));
let known = now();
run(main, words);

const socket = new Socket("/ws/guardian", {
  opened: () => ask(),
  // Places are many, and come with the next rendering anyway.
  received: (event, data) => data?.wardId === ward && event !== "location-updated" && ask(),
  closed: () => {
    current = false;
    showState();
  },
});

function ask() {
  again = true;
  if (!asking) plan();
}

function plan() {
  clearTimeout(timer);
  timer = setTimeout(look, Math.max(0, asked + (again ? SPACING : EVERY) - performance.now()));
}

async function look() {
  asking = !document.hidden || again;
  again = false;
  asked = performance.now();
  if (asking) await refresh();
  asking = false;
  plan();
}

async function refresh() {
  try {
    const answer = await fetch(location.href, { redirect: "manual", signal: AbortSignal.timeout(8000) });
    // Signed out, or no longer allowed to see it: the page itself says so.
    if (answer.type === "opaqueredirect" || (answer.status >= 400 && answer.status < 500)) return location.reload();
    if (answer.ok) show(await answer.text());
    current = answer.ok && socket.open;
  } catch {
    current = false;
  }
  showState();
}

function show(text) {
  const wanted = document.adoptNode(new DOMParser().parseFromString(text, "text/html").getElementById("main"));
  const theirs = wanted.querySelector("#away");
  if (!theirs) return location.reload(); // it has ended
  learn(Number(theirs.dataset.now));
  known = now();
  for (const id of ["away", "said"]) {
    wanted.querySelector(`#${id}`).replaceWith(document.getElementById(id).cloneNode(true));
  }
  morphChildren(main, wanted);
}

function showState() {
  main.classList.toggle("stale", !current);
  if (current === away.hidden) return;
  away.hidden = current;
  away.lastElementChild.textContent = current ? "" : words.away.replace("{time}", time.format(known));
}

main.addEventListener("submit", (event) => {
  if (!event.target.dataset.write) return;
  event.preventDefault();
  const said = document.getElementById("said");
  said.textContent = "";
  write(socket, event.target.elements.text, { wardId: ward }, (why) => (said.textContent = words[`not_sent_${why}`]));
});
