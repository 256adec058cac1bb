// What every page does: carry a running session on, copy, ask before what cannot be undone, tell the time zone.

import { carryOn, isRunning, ownPage } from "./own.js";

// A page that the browser had kept knows nothing of a session that has begun since.
addEventListener("pageshow", (event) => event.persisted && location.reload());

const session = document.getElementById("own-session");
if (session) carryOn(session);

const aloud = document.createElement("p"); // for those who do not see that a button changed
aloud.className = "hidden";
aloud.setAttribute("role", "status");
document.body.append(aloud);

// What stands in such a line when a page is loaded, no screen reader need say: what comes in afterwards, it does.
const LOADED = 500; // milliseconds, after which it knows the page
addEventListener("load", () => setTimeout(() => {
  const lines = document.querySelectorAll(":is(.done, #problem) > span:not(:focus-within)"); // who is in one, has read it
  for (const text of lines) text.replaceWith(text.cloneNode(true));
}, LOADED));

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button || button.classList.contains("copied")) return;
  const [what, label] = [document.getElementById(button.dataset.copy), button.lastElementChild];
  try {
    await navigator.clipboard.writeText(what.textContent);
  } catch {
    getSelection().selectAllChildren(what);
    return;
  }
  const before = label.textContent;
  button.classList.add("copied");
  aloud.textContent = label.textContent = button.dataset.copied;
  setTimeout(() => {
    button.classList.remove("copied");
    label.textContent = before;
    aloud.textContent = "";
  }, 1500);
});

// Apple's devices know no address of a place; their map has its own.
const IS_APPLE = /Mac|iPhone|iPad/.test(navigator.userAgent);
document.addEventListener("click", ({ target }) => {
  const link = IS_APPLE && target.closest('a[href^="geo:"]');
  if (link) link.href = link.href.replace(/^geo:.*\?/, "maps://?");
});

const HANGS = 2000; // milliseconds: whoever has pressed a button, waits no longer for a server that says nothing
let finding = false; // whether a session of one's own runs

document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  const { confirm, sure, own } = form.dataset;
  const question = document.getElementById(confirm);
  if (!question || sure) return;
  event.preventDefault();
  if (finding) return;
  const goOn = () => {
    form.dataset.sure = "yes";
    submitter.click(); // Safari 15 has no requestSubmit
  };
  // One may have begun since the page was rendered. Where that cannot be known, or one is seen to run, it is asked.
  if (own !== undefined && (session?.dataset.state ?? "over") === "over") {
    finding = true;
    const page = await Promise.race([ownPage(), new Promise((resolve) => setTimeout(resolve, HANGS, null))]);
    finding = false;
    if (page === undefined || (page && !isRunning(page))) return goOn();
  }
  // That it was closed is said a moment later, when it may have been asked again.
  question.onclose = () => question.open || question.returnValue !== "yes" || goOn();
  question.returnValue = "";
  question.showModal();
});
document.documentElement.dataset.asks = ""; // until now nothing of this could be done

// What is on its way is not broken off and sent again at once: it may do what can be done once. The page that follows, or
// this one when somebody comes back to it, is loaded anew.
const AGAIN = 15000; // milliseconds, for whoever has stopped it
const sent = new WeakSet();
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.getAttribute("method") !== "post") return;
  if (sent.has(event.target)) event.preventDefault();
  else setTimeout(() => sent.delete(event.target), AGAIN);
  sent.add(event.target);
});

for (const input of document.querySelectorAll("input[data-zone]")) {
  input.value ||= Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
}

// A link that signs in needs no further click; what previews links runs no scripts and presses nothing.
document.querySelector("form[data-at-once] button")?.click();
