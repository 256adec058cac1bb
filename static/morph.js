// Make one element like another, touching only what differs: what somebody types, selects, opens or scrolls stays.

// The state of these belongs to the visitor once the page is there.
const OWN = new Set(["open", "value", "checked", "selected"]);

/** Make `from` like `to`, which is used up. */
export function morph(from, to) {
  if (from.isEqualNode(to)) return;
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !OWN.has(name)) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (!OWN.has(name) && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  morphChildren(from, to);
}

/** Make the children of `from` like those of `to`, which are used up. */
export function morphChildren(from, to) {
  const ids = new Set(Array.from(to.children, (child) => child.id));
  const there = new Set(); // what stands before `here`: no second one of an id is taken for the first
  let here = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const match = counterpart(from, here, wanted);
    if (!match || there.has(match)) {
      from.insertBefore(wanted, here);
      there.add(wanted);
      continue;
    }
    there.add(match);
    // What stands before it and is wanted nowhere, goes: a match that is moved loses the focus of what is in it.
    while (here !== match && !(here.id && ids.has(here.id))) here = gone(here);
    if (match === here) here = here.nextSibling;
    else from.insertBefore(match, here);
    if (match.nodeType === Node.ELEMENT_NODE) morph(match, wanted);
    else if (match.nodeValue !== wanted.nodeValue) match.nodeValue = wanted.nodeValue;
  }
  while (here) here = gone(here);
}

function gone(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function counterpart(parent, here, wanted) {
  if (wanted.nodeType !== Node.ELEMENT_NODE) return here?.nodeType === wanted.nodeType ? here : null;
  if (wanted.id) {
    const known = document.getElementById(wanted.id);
    return known && known.parentNode === parent ? known : null;
  }
  for (let node = here; node; node = node.nextSibling) {
    if (!node.id && node.nodeName === wanted.nodeName && node.className === wanted.className) return node;
    if (node.id) break;
  }
  return here && !here.id && here.nodeName === wanted.nodeName ? here : null;
}

/** The one element that a piece of the server's HTML consists of. */
export function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return document.adoptNode(template.content.firstElementChild);
}
