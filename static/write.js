// Writing a message: what was written stays in its field until the server has it.

import { recall, remember } from "./kept.js";

const underWay = new WeakSet();
const unsent = new Map(); // fields, and why
let aside = 0; // forms that were put there

/** Send what is in `input` with `data`; where it did not arrive or may not have, `failed` is told why: "away" or
 * "refused", or "unknown". Gives whether it arrived. */
export async function write(socket, input, data, failed) {
  const written = input.value;
  const text = written.trim();
  if (!text || underWay.has(input)) return;
  underWay.add(input);
  const answer = await socket.ask("send-message", { ...data, text });
  underWay.delete(input);
  if (answer === "message") {
    unsent.delete(input);
    if (input.value.startsWith(written)) input.value = input.value.slice(written.length);
  } else {
    const why = ["away", "unknown"].includes(answer) ? answer : "refused";
    unsent.set(input, why);
    failed(why);
  }
  return answer === "message";
}

/** Move a form to what is kept on the page, with a sentence; where it `isOver`, its text can only be copied. */
export function putAside(form, sentence, isOver) {
  const input = form.elements.text;
  const item = document.getElementById("unsent").content.firstElementChild.cloneNode(true);
  const remove = item.querySelector("button");
  const focused = document.activeElement === input;
  const selection = [input.selectionStart, input.selectionEnd];
  // Where it stood, there may be another one.
  input.id = form.querySelector("label").htmlFor = `kept-${(aside += 1)}`;
  remove.before(form);
  sayAside(form, sentence, isOver);
  remove.addEventListener("click", () => item.remove());
  document.getElementById("kept").append(item);
  if (!focused) return;
  input.focus({ preventScroll: true });
  input.setSelectionRange(...selection);
}

/** Of a form that was put aside: the sentence, and whether it is over with it. */
export function sayAside(form, sentence, isOver) {
  allowToSend(form, !isOver);
  const line = form.closest(".unsent").querySelector("p");
  // Whatever is written there is read aloud.
  if (line.textContent !== sentence) line.textContent = sentence;
}

/** Whether a form's text can be sent, or only copied. */
export function allowToSend(form, isAllowed) {
  form.elements.text.readOnly = form.querySelector("button").hidden = !isAllowed;
}

/** What to say when the connection is back of what still stands in a field and is seen, where no line next to it says
 * so. */
export function ofWhatIsUnsent(words) {
  const isSeen = (input) => input.getClientRects().length > 0;
  const standing = [...unsent].filter(([input]) => isSeen(input) && input.value && !input.closest(".unsent"));
  if (!standing.length) return "";
  return standing.some(([, why]) => why === "unknown") ? words.not_sent_unknown : words.not_sent_refused;
}

/** What is left of what was `said` once everything has arrived that was not sent. */
export function withoutUnsent(said, words) {
  if (ofWhatIsUnsent(words)) return said;
  const sentences = ["away", "refused", "unknown"].map((why) => words[`not_sent_${why}`]);
  const rest = sentences.reduce((left, sentence) => left.replace(sentence, ""), said);
  return rest === said ? said : rest.trim();
}

/** What has been written in the `fields()` outlives the page, in this window: a phone that is short of memory loads it
 * anew. Gives whether that is about the same `session()`; what has been written since then is about this one. */
export function outlive(fields, session = () => 0) {
  const name = `written-${document.body.dataset.viewer}-${location.pathname}`;
  const { about, texts } = JSON.parse(recall("sessionStorage", name) || '{"texts":{}}');
  const before = fields().filter(({ id, value }) => !value && texts[id]);
  for (const field of before) field.value = texts[field.id];
  const keep = () => {
    const texts = Object.fromEntries(fields().map(({ id, value }) => [id, value]));
    remember("sessionStorage", name, JSON.stringify({ about: session(), texts }));
  };
  addEventListener("pagehide", keep);
  document.addEventListener("visibilitychange", () => document.hidden && keep());
  return !before.length || about === session();
}
