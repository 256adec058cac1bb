// The switch that shares the ward's location, and what is said of it.

import { ago, now } from "./clock.js";
import { keep, kept } from "./kept.js";
import { isUnshared, shareOf } from "./own.js";
import { Place } from "./place.js";

const ward = document.getElementById("ward");
const words = JSON.parse(ward.dataset.words);
const [button, line, status] = ["share", "share-line", "share-status"].map((id) => document.getElementById(id));
const label = button.lastElementChild.textContent;

export class Share {
  /** `send(data)` says whether a location was sent. */
  constructor(send) {
    this.start = Number(ward.dataset.start); // of the session; 0 while there is none
    this.told = null; // when the last location was sent
    this.accuracy = 0; // of it, in metres
    this.problem = ""; // why there is none
    this.place = new Place({
      send: (data) => {
        const sent = send(data);
        if (!sent) return false;
        this.problem = "";
        this.accuracy = data.accuracy ?? 0;
        return true;
      },
      failed: (why) => {
        if (!this.place.active) keep("sessionStorage", shareOf(this.start), false);
        this.say(words[`location_${why}`]);
      },
    });
    button.addEventListener("click", () => this.toggle());
  }

  toggle() {
    this.problem = "";
    this.told = null;
    line.textContent = "";
    if (this.place.active) this.place.stop();
    else this.place.start();
    keep("sessionStorage", shareOf(this.start), this.place.active);
    this.show();
    keepInSight();
  }

  /** A session runs that began then. After a reload, go on with what was allowed and asked for before it; in a new
   * window, only say what is missing. */
  async goOn(start) {
    this.start = start;
    if (this.place.active || !isUnshared({ ...ward.dataset, start })) return;
    const permission = await navigator.permissions?.query({ name: "geolocation" });
    if (this.start !== start) return;
    if (!kept("sessionStorage", shareOf(start)) || permission?.state !== "granted") return this.say(words.not_shared);
    this.place.start();
    this.show();
  }

  /** Why no location is shared. */
  say(problem) {
    const isNew = problem !== this.problem;
    this.problem = problem;
    this.show();
    if (isNew) keepInSight();
  }

  /** The server has what was sent last. */
  arrived() {
    this.told = now();
    this.show();
  }

  /** There is no session any more. */
  end() {
    this.start = 0;
    this.place.stop();
    this.problem = status.textContent = "";
    this.told = null;
    this.show();
  }

  tick() {
    if (this.place.active) this.show();
  }

  show() {
    const { active } = this.place;
    button.setAttribute("aria-pressed", String(active));
    button.lastElementChild.textContent = active ? words.sharing : label;
    if (this.problem) line.textContent = this.problem;
    else if (!active) line.textContent = "";
    else if (this.told) line.textContent = this.sent();
    else line.textContent ||= words.sharing_waiting;
    this.sayAloud();
  }

  get isRough() {
    return this.accuracy > ward.dataset.rough;
  }

  /** How old the last location is, and how far it may be from where this is, where that is far. */
  sent() {
    const sentence = this.isRough ? words.sharing_sent_roughly : words.sharing_sent;
    return sentence.replace("{ago}", ago(now() - this.told, words)).replace("{distance}", distance(this.accuracy));
  }

  /** What changes, and not each second how old the last location is. */
  sayAloud() {
    const before = status.textContent;
    let said = before;
    if (this.problem) said = this.problem;
    else if (this.place.active && this.told) said = this.isRough ? words.sharing_roughly : words.sharing_begun;
    else if (!this.place.active && [words.sharing_begun, words.sharing_roughly].includes(before)) said = words.not_shared;
    if (said !== before) status.textContent = said;
  }
}

/** As pages of the server write it. */
function distance(metres) {
  const digits = metres < 950 ? 0 : 1;
  const number = digits ? metres / 1000 : Math.round(metres / 10) * 10;
  const how = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  const written = new Intl.NumberFormat(document.documentElement.lang, how).format(number);
  return words[digits ? "kilometres" : "metres"].replace("{n}", written);
}

/** On a small phone it would be behind the button that stops. Whoever writes is left where they are. */
function keepInSight() {
  if (!document.activeElement.matches("input")) line.scrollIntoView({ block: "nearest" });
}
