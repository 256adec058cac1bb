// The server's time, and what ticks by it. The visitor's own clock may be wrong; how fast it runs is not.

const SLEEPS = 1000; // milliseconds; two clocks are never quite of one opinion

let ahead = null;
let slept = 0; // milliseconds
let last = { run: performance.now(), date: Date.now(), unseen: document.hidden };

/** The server's clock showed this moment (milliseconds since the epoch) just now. */
export function learn(moment) {
  ahead = moment - awakeOrAsleep();
}

/** The server's time now, in milliseconds since the epoch. */
export function now() {
  return ahead === null ? Date.now() : awakeOrAsleep() + ahead;
}

/** Milliseconds to measure durations with, which go on while the device sleeps; to be asked for again and again. It
 * sleeps when nobody looks: where somebody does, and its clock leaps, it was set. */
export function awakeOrAsleep() {
  const here = { run: performance.now(), date: Date.now(), unseen: document.hidden };
  const leap = here.date - last.date - (here.run - last.run);
  if (last.unseen && leap > SLEEPS) slept += leap;
  last = here;
  return here.run + slept;
}
document.addEventListener("visibilitychange", awakeOrAsleep); // so that it is known whether somebody looked until now

/** A duration such as 4:05 or 1:04:05. */
export function clock(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** How the page's reader writes a moment: the time of day, with its seconds, and the day where it is another one. */
export function timeOfDay(zone, hours) {
  const format = (how) => {
    const language = document.documentElement.lang;
    try {
      return new Intl.DateTimeFormat(language, { ...how, timeZone: zone });
    } catch {
      return new Intl.DateTimeFormat(language, how); // in its own zone, where the browser is too old to know this one
    }
  };
  // Of `hour12`, browsers of some years make 24:05 at night, or 00:05 at noon.
  const time = format({ timeStyle: "medium", ...(hours && { hourCycle: hours === "12" ? "h12" : "h23" }) });
  const day = format({ month: "short", day: "numeric" });
  return (moment) => {
    const [then, today] = [moment, now()].map((each) => day.format(each));
    return then === today ? time.format(moment) : `${then}, ${time.format(moment)}`;
  };
}

/** How long ago, in the words of the page. */
export function ago(milliseconds, words) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const [unit, number] =
    seconds < 60 ? ["s", seconds]
    : seconds < 3600 ? ["min", Math.floor(seconds / 60)]
    : seconds < 172800 ? ["h", Math.floor(seconds / 3600)]
    : ["d", Math.floor(seconds / 86400)];
  return words.ago.replace("{age}", words[unit].replace("{n}", number));
}

/** Bring everything below an element to the present moment. */
export function refresh(root, words) {
  const moment = now();
  for (const element of root.querySelectorAll("[data-clock]")) {
    write(element, clock(moment - element.dataset.clock));
  }
  for (const element of root.querySelectorAll("[data-left]")) {
    write(element, clock(element.dataset.left - moment));
  }
  for (const element of root.querySelectorAll("[data-ago]")) {
    write(element, ago(moment - element.dataset.ago, words));
  }
}

/** Whether anything below an element is still shown after its time. */
export function isOver(root) {
  return [...root.querySelectorAll("[data-until]")].some(({ dataset }) => dataset.until < now());
}

/** Keep refreshing each second. */
export function run(root, words) {
  refresh(root, words);
  return setInterval(() => refresh(root, words), 1000);
}

function write(element, text) {
  // Only what changes costs a layout.
  if (element.textContent !== text) element.textContent = text;
}
