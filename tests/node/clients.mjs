// Clients of the unmodified socket.io-client, who do what the lines of the standard input say and tell what they hear.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const AT_ONCE = { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50 };
// What JSON cannot say.
const STRANGE = {
  undefined: undefined, NaN: NaN, infinity: Infinity, bytes: Buffer.from("bytes"), date: new Date(0), function: () => 1,
  array: new Float64Array(3), map: new Map([[1, 2]]), error: new Error("no"), surrogate: "\ud800", zero: -0,
};

const sockets = {};
const tell = (who, event, data, replyTo) => process.stdout.write(JSON.stringify({ who, event, data, replyTo }) + "\n");
const meant = (_, value) => (value?.strange ? STRANGE[value.strange] : value);
// JSON.parse leaves out what is undefined, arguments are not to be left out.
const argument = (value) => (value?.strange ? STRANGE[value.strange] : JSON.parse(JSON.stringify(value), meant));

const deeds = {
  connect({ who, url, options }) {
    const socket = (sockets[who] = io(url, { ...AT_ONCE, ...options }));
    socket.onAny((event, data) => tell(who, event, data));
    socket.on("connect", () => tell(who, "connect", {}));
    socket.on("connect_error", ({ message, data }) => tell(who, "connect_error", { message, ...data }));
    socket.on("disconnect", (reason) => tell(who, "disconnect", { reason }));
    socket.io.on("open", () => socket.io.engine.once("upgrade", ({ name }) => tell(who, "upgrade", { to: name })));
  },
  emit({ who, args, id }) {
    const told = args.map(argument);
    if (id) told.push((answer) => tell(who, "acknowledged", answer, id));
    sockets[who].emit(...told);
  },
  transport: ({ who }) => tell(who, "transport", { now: sockets[who].io.engine.transport.name }),
  disconnect: ({ who }) => sockets[who].disconnect(),
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const order = JSON.parse(line);
    deeds[order.deed](order);
  })
  .on("close", () => process.exit());
