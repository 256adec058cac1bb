// That the page does not know how things are: a line says since when, and why; after a while it is said aloud.

import { announce } from "./announce.js";
import { now, timeOfDay } from "./clock.js";

const SILENCE = 30000; // without a connection for so long, a guardian who relies on the sound must hear of it

const live = document.getElementById("live");
const line = document.getElementById("away");
const words = JSON.parse(live.dataset.words);
const time = timeOfDay(live.dataset.zone, live.dataset.hours);

let since = now();
let named = since; // the same when the line came up: what is read aloud does not change with each look
let refusal = ""; // why there is no connection, where the server has said so
let silence = null; // the timer of saying so
let told = false; // it was said aloud, and not taken back

/** What is shown was true at this moment. */
export const wasTrue = (moment) => (since = moment);

export const isAway = () => !line.hidden;

/** Show whether the page knows how things are. */
export function show(isKnown) {
  if (isKnown) {
    clearTimeout(silence);
    silence = null;
  }
  if (line.hidden) named = since;
  if (line.hidden !== isKnown) line.hidden = isKnown;
  // On the next day it has another sentence.
  const [text, said] = [line.lastElementChild, isKnown ? "" : sentence()];
  if (text.textContent !== said) text.textContent = said;
}

/** It is being said that the page knows again. Gives whether the opposite was said aloud. */
export function takeBack() {
  const before = told;
  told = false;
  return before;
}

/** The connection is gone, or could not be had; why, where the server has said so. */
export function lost(why) {
  refusal = why;
  silence ??= setTimeout(() => {
    told = true;
    announce([{ kind: "lost", sentence: sentence(), about: "" }]);
  }, SILENCE);
}

/** There is one. */
export const opened = () => (refusal = "");

function sentence() {
  return `${words.away.replace("{time}", time(named))} ${refusal}`.trim();
}
