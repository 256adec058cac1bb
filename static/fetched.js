// A page of the server, as it would be now.

import { isOfViewer } from "./socket.js";

/** `page`, where the server has given one, and whether it `refused` what was asked for: it is not there any more, or not
 * for this viewer. Where there is none, whether somebody is to sign in first: a `stranger`. */
export async function fetchPage(path) {
  try {
    const answer = await fetch(path, { redirect: "manual", signal: AbortSignal.timeout?.(8000) });
    // A network that asks to sign in at its own page first, leads there as well.
    if (answer.status === 401 || answer.type === "opaqueredirect") return { stranger: true };
    const refused = answer.status === 403 || answer.status === 404;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // A proxy may say so as well, for a moment, and a network gives its own page.
    if (!(answer.ok || refused) || !page.getElementById("main")) return {};
    const { viewer } = page.body.dataset;
    if (isOfViewer(viewer)) return { page, refused };
    // After another sign-in in this browser it is somebody else's.
    if (viewer) location.reload();
  } catch {
    // Then there is none.
  }
  return {};
}
