// The shell without network: try again as soon as there may be one.

const again = () => location.replace("/ward");

addEventListener("online", again);
setInterval(async () => {
  try {
    if ((await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(5000) })).ok) again();
  } catch {
    // Still away.
  }
}, 2000);
