// The page of a session that still runs: now and then, what the server renders of it.

import { morphChildren } from "./morph.js";

setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { redirect: "manual", signal: AbortSignal.timeout(8000) });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    morphChildren(document.getElementById("main"), document.adoptNode(page.getElementById("main")));
  } catch {
    // Without network it stays as it is; the dashboard is the page that says so.
  }
}, 3000);
