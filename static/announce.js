// How a change makes itself known: a calm line, a sound that was allowed, the tab, a notification of the system.

import { keep, kept } from "./kept.js";

const TONES = {
  started: [[523, 0], [659, 0.16]],
  resumed: [[523, 0], [659, 0.16]],
  ended: [[659, 0], [523, 0.16]],
  message: [[784, 0]],
  lost: [[440, 0], [330, 0.22], [440, 0.5], [330, 0.72]],
};

const TOGETHER = 300; // milliseconds
const LOUD = 10000; // for so long a loss stays in sight, whatever others write
const MOST_LOUD = 2; // and no more of them than leave room for what is new

let saidAt = -TOGETHER;
let lately = []; // what was said then
let audio = null;
const canSound = "AudioContext" in window; // not in Safari's Lockdown Mode
let soundWanted = canSound && kept("localStorage", "sound");
let showMute = () => {};
let notificationsWanted = kept("localStorage", "notifications");

// What stays in sight above the page does not lie upon what has the focus, however much it says.
const news = document.querySelector(".news");
new ResizeObserver(() => {
  const covers = getComputedStyle(news).position === "sticky";
  document.documentElement.style.scrollPaddingTop = covers ? `calc(${news.offsetHeight}px + 1rem)` : "";
  uncover();
}).observe(news);
document.addEventListener("focusin", () => requestAnimationFrame(uncover)); // a browser leaves what is high where it is

function uncover() {
  const focused = document.querySelector("#live :focus");
  if (!focused || news.contains(focused)) return;
  const [line, box] = [news, focused].map((element) => element.getBoundingClientRect());
  if (box.top < line.bottom && box.bottom > line.top) focused.scrollIntoView({ block: "start" });
}

/** Say what happened, in all the ways that are open; `about` is the id of the session, if it is about one. What was said
 * a moment ago may stand `before` it once more. Without a kind it is only to be read. */
export function announce(news, before = justNow(news)) {
  const said = document.getElementById("said");
  saidAt = performance.now();
  lately = [...before, ...news].map((one) => ({ at: saidAt, ...one }));
  said.replaceChildren(...lately.map(line).flatMap((one) => [one, " "]).slice(0, -1));
  // The loudest of them is heard.
  const loud = (wanted) => news.find((one) => one.kind === wanted);
  const { kind, about } = loud("lost") ?? loud("message") ?? news[0] ?? {};
  if (!kind) return;
  play(TONES[kind]);
  if (notificationsWanted && document.hidden && "Notification" in window && Notification.permission === "granted") {
    // What replaces an earlier one of the same session makes itself heard again; no session hides another.
    const tag = `liveguard-${kind}-${news.map(({ about }) => about).join()}`;
    const sentence = news.map((one) => one.sentence).join(" ");
    const data = kind === "revoked" ? "" : about;
    notify(sentence, { tag, renotify: true, icon: document.getElementById("favicon").href, data });
  }
}

/** What happens to several at the same moment is read together, and none of them is lost to the next; nor is a loss to
 * what somebody else writes a little later. */
function justNow(news) {
  const told = new Set(news.map((one) => one.about));
  const others = lately.filter(({ about }) => about && !told.has(about));
  if (performance.now() - saidAt < TOGETHER) return others;
  return others.filter(({ kind, at }) => kind === "lost" && performance.now() - at < LOUD).slice(-MOST_LOUD);
}

/** A sentence, which leads to the page of the session, if there is one and it is another page. */
function line({ kind, sentence, about }) {
  const path = `/history/${about}`;
  const leads = about && kind !== "revoked" && path !== location.pathname;
  const element = document.createElement(leads ? "a" : "span");
  if (leads) element.href = path;
  element.classList.toggle("lost", kind === "lost");
  element.textContent = sentence;
  return element;
}

async function notify(sentence, options) {
  try {
    new Notification(sentence, options).onclick = () => {
      focus();
      lead(options.data);
    };
  } catch {
    // On phones only a worker may.
    const worker = await navigator.serviceWorker?.ready;
    await worker?.showNotification(sentence, options);
  }
}

/** A notification about this session was touched: what the page shows of it comes into view, its card above all. */
export function lead(about) {
  const to = `a[href="/history/${about}"]`;
  const link = document.querySelector(`#s-${about} ${to}`) ?? document.querySelector(`main :not(#said) > ${to}`);
  const shown = link ?? document.querySelector(`#s-${about} h1`) ?? document.getElementById("said");
  shown.scrollIntoView({ block: "center" });
  link?.focus({ preventScroll: true });
}

/** What the tab shows: how many sessions run, and whether one is lost. */
export function showInTab(title, icons, running, lost) {
  document.title = `${lost ? "⚠ " : ""}${running ? `(${running}) ` : ""}${title} · liveguard`;
  const icon = lost ? icons.lost : running ? icons.live : icons.quiet;
  const link = document.getElementById("favicon");
  if (!link.href.endsWith(icon)) link.href = icon;
}

/** The two switches of the page, what says that there is no sound yet, though it is wanted, and what says that the
 * browser allows no notifications. */
export function prepare(soundButton, notificationButton, mute, refused) {
  showMute = () => (mute.hidden = !soundWanted || audio?.state === "running");
  show(soundButton, soundWanted);
  if (soundButton) soundButton.hidden = !canSound;
  showMute();
  soundButton?.addEventListener("click", () => {
    soundWanted = keep("localStorage", "sound", !soundWanted);
    show(soundButton, soundWanted);
    wake().then(() => {
      showMute();
      play(TONES.started);
    });
  });
  // A browser plays nothing before the visitor has done something on the page.
  for (const gesture of ["touchend", "click", "keydown"]) addEventListener(gesture, () => wake().then(showMute), { passive: true });
  if (!notificationButton || !("Notification" in window)) return;
  notificationButton.hidden = false;
  show(notificationButton, notificationsWanted && Notification.permission === "granted");
  notificationButton.addEventListener("click", async () => {
    const wanted = notificationButton.getAttribute("aria-pressed") !== "true";
    const allowed = wanted && (await Notification.requestPermission()) === "granted";
    notificationsWanted = keep("localStorage", "notifications", allowed);
    show(notificationButton, allowed);
    refused.textContent = wanted && !allowed ? refused.dataset.text : "";
  });
}

async function wake() {
  if (!soundWanted) return;
  if (!audio) {
    audio = new AudioContext();
    audio.onstatechange = showMute;
  }
  // It may also be "interrupted": by a call, or while the screen was locked.
  if (audio.state !== "running") await audio.resume().catch(() => {});
}

function play(tones) {
  if (!soundWanted || !tones || audio?.state !== "running") return;
  for (const [pitch, delay] of tones) {
    const start = audio.currentTime + delay;
    const [tone, volume] = [audio.createOscillator(), audio.createGain()];
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.0001, start);
    volume.gain.exponentialRampToValueAtTime(0.12, start + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, start + 0.3);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 0.32);
  }
}

function show(button, pressed) {
  button?.setAttribute("aria-pressed", String(Boolean(pressed)));
}
