// Keeps the screen on.

let lock = null;

export async function keepAwake() {
  if (lock || document.hidden || !("wakeLock" in navigator)) return;
  try {
    lock = await navigator.wakeLock.request("screen");
    lock.addEventListener("release", () => (lock = null));
  } catch {
    // A low battery, say. The session runs without it.
  }
}

export function letSleep() {
  lock?.release().catch(() => {});
  lock = null;
}
