// A button that is held: with a finger, a mouse, Enter or the space bar. A screen reader's click is asked back.

const HELD = 1000;
const NEAR = 20; // pixels beside the button where a finger that trembles still holds it

/** Call `done` when the button was held; `asked` for a click that nobody can hold. The element `hint`, which says how
 * the button is used, says it in other `words` first when it was let go early. Gives what calls a hold off. */
export function hold(button, { done, asked, hint, words }) {
  let timer = null;
  let released = -Infinity;
  let unpressed = false; // an assistive technology sends a pointer with its click, which presses on nothing

  function begin() {
    if (timer !== null || button.disabled) return;
    button.classList.add("holding");
    hint.classList.remove("loud");
    timer = setTimeout(() => {
      end();
      done();
    }, HELD);
  }

  function end() {
    clearTimeout(timer);
    timer = null;
    button.classList.remove("holding");
  }

  function release() {
    if (timer === null) return;
    end();
    hint.firstElementChild.textContent = words;
    hint.classList.add("loud");
  }

  /** Whoever wants to break it off slides away from it. */
  function isNear({ clientX, clientY }) {
    const { left, right, top, bottom } = button.getBoundingClientRect();
    return clientX > left - NEAR && clientX < right + NEAR && clientY > top - NEAR && clientY < bottom + NEAR;
  }

  button.addEventListener("pointerdown", (event) => {
    unpressed = event.pressure === 0 && event.pointerType !== "touch";
    if (event.button !== 0 || unpressed) return;
    button.setPointerCapture(event.pointerId);
    begin();
  });
  button.addEventListener("pointermove", (event) => isNear(event) || release());
  for (const kind of ["pointerup", "pointercancel"]) {
    button.addEventListener(kind, () => {
      released = performance.now();
      release();
    });
  }
  button.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    if (!event.repeat) begin();
  });
  button.addEventListener("keyup", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    release();
  });
  button.addEventListener("blur", release);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  button.addEventListener("click", () => {
    // A finger's click follows its release; a click from nowhere comes from an assistive technology.
    if (unpressed || performance.now() - released > 500) asked();
    unpressed = false;
  });
  return end;
}
