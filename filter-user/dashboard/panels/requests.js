// The last requests that were not simply allowed, and all about the one that is chosen.

import { choice, el, row, say, show, table } from "../dom.js";
import { clock } from "../format.js";
import { Details } from "./details.js";

/** Rows that are kept; older ones go. */
const ROWS = 200;
/** New ones are shown together, every so many milliseconds, however many come. */
const TOGETHER = 250;

export class Requests {
  #kept = [];
  #new = [];
  #timer = 0;
  #decision = "suspicious";
  #client = "";
  #isPaused = false;
  #chosen = null;

  constructor(section, context) {
    this.session = context.session;
    this.table = table(`The last ${ROWS} are kept here.`, [
      { title: "Time", tight: true },
      { title: "Decision", tight: true },
      { title: "Client", tight: true },
      { title: "Request" },
      { title: "Score", number: true, more: true },
      { title: "Why", more: true },
    ]);
    this.details = new Details(context);
    const client = el("input", { type: "search", size: 18, on: { input: () => this.#narrow({ client: client.value.trim() }) } });
    const decision = choice([["suspicious", "all of them"], ["block", "blocked only"]], "suspicious",
      (decision) => this.#narrow({ decision }));
    const pause = el("button", { type: "button", "aria-pressed": "false", on: { click: () => {
      this.#isPaused = !this.#isPaused;
      pause.setAttribute("aria-pressed", this.#isPaused);
      this.#flush();
    } } }, "Pause");
    this.suppressed = el("p", { class: "quiet", role: "status" });
    section.append(
      el("div", { class: "row" }, el("label", {}, "Decision", decision), el("label", {}, "Client begins with", client), pause),
      this.suppressed, el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Requests" }, this.table),
      this.details.node);
  }

  /** Fills in what was before. Returns the number of the last message that is in it. */
  async load() {
    const told = await this.session.find(`/v1/requests?limit=${ROWS}`);
    const requests = told?.requests ?? [];
    this.#kept = requests.slice(0, ROWS);
    this.#all();
    return requests[0]?.seq ?? null;
  }

  message(message) {
    if (message.topic !== "verdicts") return;
    if (message.suppressed) {
      say(this.suppressed, `${message.suppressed} more in one second were not told, at ${clock(message.time)}.`);
      return;
    }
    this.#new.push(message);
    this.#new.splice(0, this.#new.length - ROWS);
    this.#timer ||= setTimeout(() => this.#flush(), TOGETHER);
  }

  #flush() {
    this.#timer = 0;
    if (this.#isPaused) return;
    const come = this.#new.reverse();
    this.#new = [];
    this.#kept = [...come, ...this.#kept].slice(0, ROWS);
    const body = this.table.tBodies[0];
    body.prepend(...come.filter((request) => this.#wants(request)).map((request) => this.#row(request)));
    while (body.rows.length > ROWS) body.lastElementChild.remove();
  }

  #narrow({ decision = this.#decision, client = this.#client }) {
    this.#decision = decision;
    this.#client = client;
    this.#all();
  }

  #all() {
    show(this.table.tBodies[0], this.#kept.filter((request) => this.#wants(request)).map((request) => this.#row(request)));
  }

  #wants({ decision, client }) {
    return (this.#decision !== "block" || decision === "block") && String(client).startsWith(this.#client);
  }

  #row(request) {
    const { seq, time, decision, enforced, client, request_line, score, explanation } = request;
    const level = decision === "block" ? "bad" : "warn";
    const what = decision === "block" && !enforced ? "would block" : decision;
    const open = el("button", { type: "button", class: "link mono", on: { click: () => this.#choose(request, node) } }, request_line);
    const node = row(this.table, seq, [
      clock(time), el("strong", { class: level }, what), client, open, Number(score).toFixed(2), el("span", { class: "clip" }, explanation),
    ]);
    return node;
  }

  #choose(request, node) {
    this.#chosen?.setAttribute("aria-selected", "false");
    this.#chosen = node;
    node.setAttribute("aria-selected", "true");
    this.details.show(request, node.querySelector("button"));
  }
}
