// A ward's own session, seen from any page.

import { keep, kept } from "./kept.js";
import { Socket } from "./socket.js";

const AGAIN = 2000; // milliseconds

/** Whether the other devices of the ward are to be back before this one. Whoever is first, carries the session on; a
 * window in which it was not started, and that nobody has used since, may stand at home. */
export const yields = () => !kept("sessionStorage", "used");

/** A session begins, in this window or elsewhere. */
export function begins(here) {
  keep("sessionStorage", "used", here);
}

for (const gesture of ["pointerdown", "keydown"]) addEventListener(gesture, () => keep("sessionStorage", "used", true));

/** The ward's page as the server renders it now; null when it cannot be had. */
export async function ownPage() {
  try {
    const answer = await fetch("/ward", { redirect: "manual", signal: AbortSignal.timeout(8000) });
    return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  } catch {
    return null;
  }
}

/** What the page of a running session says, rendered for a ward. */
export const isRunning = (page) => page.getElementById("ward").dataset.state === "running";

/** Carry the session on while its ward looks at another page, and say there how it stands. */
export function carryOn(line) {
  const words = JSON.parse(line.dataset.words);
  let wasAway = false;
  let changes = 0; // of what the line says
  say("running");

  const socket = new Socket("/ws/ward", {
    opened: () => wasAway && look(),
    received: (event, data) => {
      if (event === "session-started") say("running");
      else if (event === "session-ended") over(data.reason);
    },
    closed: () => {
      wasAway = true;
      if (line.dataset.state === "running") say("away");
    },
  }, yields);

  /** Nobody else tells that the session has ended while there was no connection. */
  async function look() {
    const before = changes;
    const page = await ownPage();
    if (changes !== before || !socket.open) return;
    if (!page) setTimeout(look, AGAIN);
    else if (isRunning(page)) say("running");
    else over("away");
  }

  function over(reason) {
    say(`ended_${reason}`, "over");
    // Nothing is left of what would be asked about.
    document.querySelector("form[data-confirm=sure-out]")?.removeAttribute("data-confirm");
  }

  function say(sentence, state = sentence) {
    changes += 1;
    line.dataset.state = state;
    const status = line.querySelector("[role=status]");
    const text = words[sentence] ?? words.ended;
    if (status.textContent !== text) status.textContent = text;
    // Only the ward's page shares it; whoever had that switched on must know.
    document.getElementById("unshared").hidden = state !== "running" || !kept("sessionStorage", "share");
  }
}
