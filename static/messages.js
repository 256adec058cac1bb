// What wards write, as the page of a guardian tells it: once, and in a sentence.

const MOST_READ = 10000; // messages of which it is known that they were said

const words = JSON.parse(document.getElementById("live").dataset.words);
const read = new Set(); // what was written lately, and said

/** A message as it is being said; nothing where it was said before. */
export function unread(about, name, moment, text) {
  // The same words may be written again, and mean more then.
  const said = `${about} ${moment} ${text}`;
  if (read.has(said)) return [];
  if (read.size >= MOST_READ) read.delete(read.values().next().value);
  read.add(said);
  const values = { "{name}": name, "{text}": text };
  const sentence = words.message.replace(/{name}|{text}/g, (part) => values[part]);
  return [{ kind: "message", sentence, about }];
}

/** What the ward of a session wrote after a moment, as much as the page shows of it; one's own words are no news. */
export function wordsSince(session, moment) {
  if (session.dataset.ward === document.body.dataset.viewer) return [];
  return [...session.querySelectorAll(".ward, .last-word")].filter(({ dataset }) => Number(dataset.moment) > moment);
}

/** Those that nobody has heard yet; they are being said. */
export function newsOf(session, moment) {
  const about = session.id.slice(2);
  const name = session.dataset.name ?? session.querySelector("h1").textContent;
  const text = (word) => word.querySelector(".text").textContent;
  return wordsSince(session, moment).flatMap((word) => unread(about, name, Number(word.dataset.moment), text(word)));
}
