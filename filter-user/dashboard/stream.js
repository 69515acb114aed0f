// What happens, as it happens: a web socket that comes back by itself, and goes on where it was.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;
/** Once the figures of each second have been heard, silence of so many milliseconds means that nobody is there. */
const SILENCE = 15_000;

export class Stream {
  #after = null;
  #wait = FIRST_WAIT;
  #heard = 0;
  #ticks = false;

  /** `on` has `message(message)`, `lost(count or null)` and `state(text, isGood)`. */
  constructor(session, topics, on) {
    this.session = session;
    this.topics = topics;
    this.on = on;
    setInterval(() => this.#watch(), 5000);
  }

  /** Begins, from behind the message with this number or from now on. */
  open(after = null) {
    this.#after = after;
    this.#connect();
  }

  #connect() {
    const url = new URL("/v1/events", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("topics", this.topics.join(","));
    if (this.#after !== null) url.searchParams.set("after", this.#after);
    const { token } = this.session;
    const socket = new WebSocket(url, token ? ["portcullis", `bearer.${token}`] : ["portcullis"]);
    this.socket = socket;
    this.#ticks = false;
    socket.addEventListener("open", () => {
      this.#wait = FIRST_WAIT;
      this.on.state("live", true);
    });
    socket.addEventListener("message", ({ data }) => this.#hear(JSON.parse(data)));
    socket.addEventListener("close", () => this.#again());
  }

  #hear(message) {
    this.#heard = Date.now();
    if (message.topic === "lost") {
      this.on.lost(message.lost);
      return;
    }
    this.#after = message.seq;
    if (message.topic === "stats") this.#ticks = true;
    this.on.message(message);
  }

  #again() {
    const wait = this.#wait * (0.75 + Math.random() / 2);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    this.on.state("the connection is lost; trying again", false);
    setTimeout(async () => {
      // Asks for a token if that is why; a web socket does not tell.
      await this.session.open().catch(() => {});
      this.#connect();
    }, wait);
  }

  #watch() {
    if (this.#ticks && Date.now() - this.#heard > SILENCE) {
      this.#ticks = false;
      this.socket.close();
    }
  }
}
