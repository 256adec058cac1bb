// Keeps the shells of the ward's page and of the dashboard, which open without network and say so. Nothing personal is
// kept.

const version = new URL(location.href).searchParams.get("v");
const files = ["app.css", "page.js", "offline.js", "fetched.js", "kept.js", "own.js", "socket.js", "clock.js", "icon.svg"]
  .map((name) => `/static/${version}/${name}`);
const shells = { "/ward": "/ward/offline", "/": "/offline" };
const PATIENCE = 10000; // milliseconds for either page

addEventListener("install", (event) => {
  const all = [...Object.values(shells), ...files];
  event.waitUntil(caches.open(version).then((cache) => cache.addAll(all)).then(() => self.skipWaiting()));
});

addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys()
      .then((names) => Promise.all(names.filter((name) => name !== version).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

addEventListener("fetch", (event) => {
  const { mode, url, method } = event.request;
  const path = new URL(url).pathname;
  if (mode === "navigate" && method === "GET" && path in shells) {
    event.respondWith(asked(event.request, shells[path]));
  } else if (path.startsWith(`/static/${version}/`)) {
    event.respondWith(caches.match(event.request).then((kept) => kept ?? fetch(event.request)));
  }
});

/** The page; its shell where it cannot be had just now, for that one comes back by itself. */
async function asked(request, shell) {
  const asking = fetch(request);
  asking.catch(() => {});
  try {
    const answer = await Promise.race([asking, late()]);
    if (![502, 503, 504].includes(answer.status)) return answer;
  } catch {
    // No network, or one that swallows everything.
  }
  return (await caches.match(shell)) ?? asking;
}

const late = () => new Promise((_, reject) => setTimeout(reject, PATIENCE));

// A notification was touched: it leads to the page of its session, or to the dashboard, if one of them is open.
addEventListener("notificationclick", (event) => {
  const { notification } = event;
  notification.close();
  event.waitUntil(show(notification.data));
});

async function show(about) {
  const path = about ? `/history/${about}` : "/";
  const open = await clients.matchAll({ type: "window" });
  const at = (place) => open.find(({ url }) => new URL(url).pathname === place);
  const watching = at(path) ?? at("/");
  if (!watching) return clients.openWindow(path);
  watching.postMessage(about);
  return watching.focus();
}
