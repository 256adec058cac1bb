// When something comes or goes, what moves by it glides to its new place instead of jumping under a finger.

const GLIDE = { duration: 350, easing: "ease-out" };

const still = matchMedia("(prefers-reduced-motion: reduce)");
const glides = new WeakMap(); // the glide of each element that is, or was, on its way

/** Make a change, then let the elements that it moved start from where they were. `elements` is asked twice. What has the
 * focus in one of them stays as high as it was: somebody may be writing there. Else the browser keeps what is read. */
export function settle(elements, change) {
  const before = new Map();
  for (const element of elements()) before.set(element, place(element));
  const { activeElement: focused } = document;
  const held = [...before.keys()].some((element) => element.contains(focused)) && place(focused);
  change();
  if (held && visible(held) && focused.isConnected) scrollBy(0, place(focused).top - held.top);
  const after = elements();
  // One that is still on its way goes on from where it is seen, to where it belongs now.
  for (const element of after) glides.get(element)?.cancel();
  const moved = [];
  for (const element of after) {
    const was = before.get(element);
    if (!was) {
      if (before.size) element.classList.add("arriving");
      continue;
    }
    const is = place(element);
    const [x, y] = [was.left - is.left, was.top - is.top];
    if ((x || y) && (visible(was) || visible(is))) moved.push([element, x, y]);
  }
  if (still.matches) return;
  for (const [element, x, y] of moved) {
    glides.set(element, element.animate({ transform: [`translate(${x}px, ${y}px)`, "none"] }, GLIDE));
  }
}

function place(element) {
  return element.getBoundingClientRect();
}

function visible(box) {
  return box.height > 0 && box.bottom > 0 && box.top < innerHeight;
}
