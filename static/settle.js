// When something comes or goes, what moves by it glides to its new place instead of jumping under a finger.

/** Make a change, then let the elements that it moved start from where they were. `elements` is asked twice. */
export function settle(elements, change) {
  const before = new Map();
  for (const element of elements()) before.set(element, place(element));
  change();
  const moved = [];
  for (const element of elements()) {
    const was = before.get(element);
    if (!was) {
      if (before.size) element.classList.add("arriving");
      continue;
    }
    const is = place(element);
    if (visible(was) || visible(is)) {
      const [x, y] = [was.left - is.left, was.top - is.top];
      if (x || y) moved.push([element, x, y]);
    }
  }
  for (const [element, x, y] of moved) {
    element.classList.remove("settling");
    element.style.transform = `translate(${x}px, ${y}px)`;
  }
  if (!moved.length) return;
  requestAnimationFrame(() => requestAnimationFrame(() => {
    for (const [element] of moved) {
      element.classList.add("settling");
      element.style.transform = "";
    }
  }));
}

function place(element) {
  return element.getBoundingClientRect();
}

function visible(box) {
  return box.height > 0 && box.bottom > 0 && box.top < innerHeight;
}
