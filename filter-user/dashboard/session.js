// Who asks: the token, what it may do, and calls of the API with it. The token is kept for this tab alone.

const KEY = "portcullis.token";
/** After so long an answer is not waited for any more, in milliseconds. */
const PATIENCE = 20_000;

/** What went wrong, and what to do about it. */
export class Problem extends Error {
  constructor(status, error, remedy) {
    super(error);
    this.status = status;
    this.remedy = remedy;
  }
}

export class Session {
  #asked = null;

  /** `ask(why)` asks the person for a token, and promises it. */
  constructor(ask) {
    this.askPerson = ask;
    this.name = "";
    this.role = "viewer";
  }

  get token() {
    return sessionStorage.getItem(KEY);
  }

  /** Learns who this is, and asks for a token if it takes one. */
  async open() {
    const { name, role } = await this.get("/v1/access");
    Object.assign(this, { name, role });
  }

  get mayChange() {
    return this.role === "operator";
  }

  leave() {
    sessionStorage.removeItem(KEY);
    location.reload();
  }

  get(path) {
    return this.call("GET", path);
  }

  /** What is there, or nothing from an engine that does not know this path. */
  async find(path) {
    try {
      return await this.get(path);
    } catch (problem) {
      if (problem.status === 404) return null;
      throw problem;
    }
  }

  async call(method, path, body) {
    const headers = { Accept: "application/json" };
    const token = this.token;
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE),
      });
    } catch (error) {
      throw new Problem(0, `the engine does not answer: ${error.message}`, "see whether it runs");
    }
    if (answer.status === 401) {
      await this.#renew(token);
      return this.call(method, path, body);
    }
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok && !(path === "/health" && answer.status === 503)) {
      throw new Problem(answer.status, told.error ?? `status ${answer.status}`, told.remedy ?? "");
    }
    return told;
  }

  /** Another token in the place of one that was not known; calls that fail together ask once. */
  async #renew(refused) {
    if (this.token && this.token !== refused) return;
    this.#asked ??= this.askPerson(refused ? "That token is not known." : "").then((token) => {
      sessionStorage.setItem(KEY, token);
      this.#asked = null;
    });
    await this.#asked;
  }
}
