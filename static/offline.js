// A shell without network: try again as soon as there may be one.

const HANGS = 15000; // milliseconds; the worker has an answer earlier

let asked = -HANGS;

function again() {
  // A page that is on its way is not broken off for being slow.
  if (performance.now() - asked < HANGS) return;
  asked = performance.now();
  location.replace(document.querySelector("main a").href);
}

addEventListener("online", again);
setInterval(async () => {
  try {
    const { status } = await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout?.(5000) });
    if (status < 500) again(); // whether or not a proxy keeps the address to itself
  } catch {
    // Still away.
  }
}, 2000);
