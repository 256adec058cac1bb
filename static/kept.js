// A switch that is remembered as on or off, in the browser's local storage or in that of one window.

const here = new Map(); // where the browser keeps nothing, for this page

/** Whether a switch was left on. */
export function kept(storage, name) {
  try {
    return window[storage].getItem(name) === "on";
  } catch {
    return here.get(name) ?? false;
  }
}

/** Remember a switch; where the browser keeps nothing, it holds for this page. */
export function keep(storage, name, on) {
  try {
    window[storage].setItem(name, on ? "on" : "off");
  } catch {
    here.set(name, on);
  }
  return on;
}
