// Where this device is, told every few seconds while it moves, and now and then while it rests.

const MOVING = 5000;
const RESTING = 30000;
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
    this.waiting = this.latest = null;
    this.told = -RESTING;
    this.watching = navigator.geolocation.watchPosition(
      (position) => this.moved(position), (problem) => this.stuck(problem), OPTIONS,
    );
    this.timer = setInterval(() => this.tell(), 1000);
  }

  stop() {
    if (!this.active) return;
    navigator.geolocation.clearWatch(this.watching);
    clearInterval(this.timer);
    this.watching = null;
  }

  moved(position) {
    this.waiting = this.latest = position;
    this.tell();
  }

  stuck(problem) {
    if (problem.code === problem.PERMISSION_DENIED) {
      this.stop();
      this.failed("refused");
    } else this.failed("unavailable");
  }

  tell() {
    const quiet = performance.now() - this.told;
    const position = quiet >= MOVING ? this.waiting ?? (quiet >= RESTING ? this.latest : null) : null;
    if (!position || !this.send(this.describe(position))) return;
    this.told = performance.now();
    this.waiting = null;
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
