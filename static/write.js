// Writing a message: what was written stays in its field until the server has it.

const underWay = new WeakSet();
const unsent = new Map(); // fields, and why

/** Send what is in `input` with `data`; where it did not arrive or may not have, `failed` is told why: "away" or
 * "refused", or "unknown". */
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
}

/** What to say when the connection is back of what still stands in a field, where no line next to it says so. */
export function ofWhatIsUnsent(words) {
  const standing = [...unsent].filter(([input]) => input.isConnected && input.value && !input.closest(".unsent"));
  if (!standing.length) return "";
  return standing.some(([, why]) => why === "unknown") ? words.not_sent_unknown : words.not_sent_refused;
}
