// Where this device is, told every few seconds while it moves, and now and then while it rests.

import { awakeOrAsleep } from "./clock.js";

const MOVING = 5000;
const RESTING = 30000;
const OLD = 10000; // the server takes what it is told for where the device is
const OPTIONS = { enableHighAccuracy: true, maximumAge: 5000, timeout: 30000 };

export class Place {
  /** `send(data)` says whether it was sent; `failed(why)` hears refused, unavailable, impossible or insecure. */
  constructor({ send, failed }) {
    this.send = send;
    this.failed = failed;
    this.watching = null;
    this.battery = null;
    navigator.getBattery?.().then((battery) => (this.battery = battery), () => {});
  }

  get active() {
    return this.watching !== null;
  }

  start() {
    if (this.active) return;
    if (!window.isSecureContext) return this.failed("insecure");
    if (!navigator.geolocation) return this.failed("impossible");
    this.waiting = null; // where it is, if that is still to be told
    this.told = -RESTING;
    this.watching = navigator.geolocation.watchPosition(...this.hearing, OPTIONS);
    this.asked = performance.now();
    this.timer = setInterval(() => this.tell(), 1000);
  }

  stop() {
    if (!this.active) return;
    navigator.geolocation.clearWatch(this.watching);
    clearInterval(this.timer);
    this.watching = null;
  }

  get hearing() {
    return [(position) => this.moved(position), (problem) => this.stuck(problem)];
  }

  moved(position) {
    if (!this.active) return;
    this.waiting = position;
    this.since = awakeOrAsleep();
    this.tell();
  }

  stuck(problem) {
    if (!this.active) return;
    this.waiting = null;
    if (problem.code === problem.PERMISSION_DENIED) {
      this.stop();
      this.failed("refused");
    } else this.failed("unavailable");
  }

  tell() {
    const now = performance.now();
    const isOld = this.waiting && awakeOrAsleep() - this.since > OLD;
    if (isOld) this.waiting = null;
    if (this.waiting && now - this.told >= MOVING && this.send(this.describe(this.waiting))) {
      this.told = now;
      this.waiting = null;
    }
    // Who rests is asked for now and then: what held a while ago need not hold any more, and no watch says so.
    if (!isOld && now - Math.max(this.told, this.asked) < RESTING) return;
    this.asked = now;
    navigator.geolocation.getCurrentPosition(...this.hearing, { ...OPTIONS, maximumAge: MOVING });
  }

  describe({ coords, timestamp }) {
    const data = { latitude: coords.latitude, longitude: coords.longitude, recordedAt: new Date(timestamp).toISOString() };
    for (const name of ["accuracy", "altitude", "heading", "speed"]) {
      if (Number.isFinite(coords[name])) data[name] = coords[name];
    }
    if (this.battery) data.battery = Math.round(this.battery.level * 100);
    return data;
  }
}
