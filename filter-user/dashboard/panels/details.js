// All about one request, and what can be done about it.

import { LENGTHS, LENGTHS_OR_NONE, block, change, terms, unblock } from "../actions.js";
import { el, facts, fill, show, table } from "../dom.js";
import { words } from "../format.js";

export class Details {
  constructor({ session }) {
    this.session = session;
    this.node = el("article", { class: "details", tabindex: -1, "aria-label": "The chosen request", hidden: true });
  }

  /** Shows a request; closing gives the focus back to `opener`. */
  show(request, opener) {
    const { session } = this;
    const { request_id, decision, enforced, client, proxy, source, destination, score, anomaly, explanation, head, model } = request;
    const close = el("button", { type: "button", on: { click: () => this.#close(opener) } }, "Close");
    const answer = terms(session, LENGTHS_OR_NONE, `request ${request_id}`);
    show(this.node,
      el("div", { class: "row" }, el("h3", {}, `Request ${request_id}`), close),
      el("p", {}, explanation),
      facts([
        ["Decision", `${decision}${enforced ? "" : ", not enforced"}`],
        ["Score", `${Number(score).toFixed(3)}, rules ${anomaly}`],
        ["Client", proxy ? `${client} by way of ${proxy}` : client],
        ["Connection", `${source} → ${destination}`],
        ["Kinds", (request.categories ?? []).map(words).join(", ") || "–"],
        ...(model ? [["Model", `${Number(model.score).toFixed(2)} in ${model.target}`]] : []),
      ]),
      head && el("pre", { tabindex: 0, "aria-label": "Head of the request" }, head),
      this.#rules(request),
      el("h3", {}, "The client"), answer.node,
      el("div", { class: "row" },
        change(session, `Block ${client}`, () => block(session, client, answer)),
        change(session, `Unblock ${client}`, () => unblock(session, client))));
    this.node.hidden = false;
    this.node.focus();
  }

  #rules(request) {
    const { session } = this;
    const path = pathOf(request.request_line);
    const why = terms(session, LENGTHS, "false positive");
    const hits = table(`Rules that hit at ${path}. An exclusion keeps a rule from counting there.`, [
      { title: "Rule" }, { title: "What" }, { title: "Where" }, { title: "Matched" }, { title: "Exclude" },
    ]);
    fill(hits, request.rules ?? [], ({ id, target }) => `${id} ${target}`, ({ id, family, severity, message, target, matched, decoding }) => [
      String(id), `${message} (${words(family)}, ${severity})`, target,
      el("code", {}, decoding && decoding !== "none" ? `${matched} (${decoding})` : matched),
      change(session, "Exclude", () => this.#exclude({ rules: [id], path, target, for_s: why.for_s, reason: why.reason }),
        `Exclude rule ${id} at ${path}`),
    ]);
    return [hits, why.node];
  }

  async #exclude(exclusion) {
    await this.session.call("POST", "/v1/exclusions", exclusion);
    return `Rule ${exclusion.rules[0]} does not count for ${exclusion.target} at ${exclusion.path}`;
  }

  #close(opener) {
    this.node.hidden = true;
    opener.focus();
  }
}

/** The path of a request line, without its query. */
function pathOf(line) {
  const target = String(line).split(" ")[1] ?? "/";
  return target.split("?")[0].split("#")[0] || "/";
}
