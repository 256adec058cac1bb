// What is remembered in the browser's local storage or in that of one window: a word, or a switch that is on or off.

const here = new Map(); // where the browser keeps nothing, for this page

/** The word that was remembered under a name; "" where there is none. */
export function recall(storage, name) {
  try {
    return window[storage].getItem(name) ?? "";
  } catch {
    return here.get(name) ?? "";
  }
}

/** Remember a word; where the browser keeps nothing, it holds for this page. */
export function remember(storage, name, word) {
  try {
    window[storage].setItem(name, word);
  } catch {
    here.set(name, word);
  }
}

/** Whether a switch was left on. */
export const kept = (storage, name) => recall(storage, name) === "on";

/** Remember a switch. */
export function keep(storage, name, on) {
  remember(storage, name, on ? "on" : "off");
  return on;
}
