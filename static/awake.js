// Keeps the screen on.

let wanted = false;
let asking = false;
let lock = null;

export async function keepAwake() {
  wanted = true;
  if (lock || asking || document.hidden || !("wakeLock" in navigator)) return;
  asking = true;
  try {
    const granted = await navigator.wakeLock.request("screen");
    lock = granted;
    granted.addEventListener("release", () => {
      if (lock === granted) lock = null;
    });
    // It may have come too late.
    if (!wanted) letSleep();
  } catch {
    // A low battery, say. The session runs without it.
  }
  asking = false;
}

// Safari grants it only for a moment after somebody has touched the page, and not to one that was loaded anew.
for (const gesture of ["touchend", "click", "keydown"]) addEventListener(gesture, () => wanted && keepAwake());

export function letSleep() {
  wanted = false;
  lock?.release().catch(() => {});
  lock = null;
}
