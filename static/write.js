// Writing a message: what was written stays in its field until the server has it.

const underWay = new WeakSet();
const unsent = new Set();

/** Send what is in `input` with `data`; `failed` is called with "away" or "refused" when it did not arrive. */
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
    unsent.add(input);
    failed(answer === null ? "away" : "refused");
  }
}

/** Whether something still stands in a field that was not sent, and no line next to it says so. */
export function somethingIsUnsent() {
  return [...unsent].some((input) => input.isConnected && input.value && !input.closest(".unsent"));
}
