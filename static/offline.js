// The shell without network: try again as soon as there may be one.

const again = () => location.replace("/ward");

addEventListener("online", again);
setInterval(async () => {
  try {
    if ((await fetch("/healthz", { cache: "no-store" })).ok) again();
  } catch {
    // Still away.
  }
}, 2000);
