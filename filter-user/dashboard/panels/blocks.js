// Blocked sources: what there is, another one, and the end of one.

import { LENGTHS_OR_NONE, block, change, explain, tell, terms, unblock } from "../actions.js";
import { el, fill, say, table } from "../dom.js";
import { count, seconds, words } from "../format.js";

/** Blocks that are listed; the rest is a number. */
const LISTED = 100;
/** Changes that come together are looked up together, after so many milliseconds. */
const TOGETHER = 400;

export class Blocks {
  #timer = 0;

  constructor(section, { session }) {
    this.session = session;
    this.table = table("", [
      { title: "Source" }, { title: "Left" }, { title: "Dropped", number: true, more: true }, { title: "Why" }, { title: "Unblock" },
    ]);
    this.rest = el("p", { class: "quiet" });
    const target = el("input", { type: "text", name: "target", placeholder: "192.0.2.0/24", required: true, disabled: !session.mayChange });
    const answer = terms(session, LENGTHS_OR_NONE, "");
    const submit = change(session, "Block", async () => {
      const done = await block(session, target.value.trim(), answer);
      target.value = "";
      this.soon();
      return done;
    });
    section.append(
      el("details", {}, el("summary", {}, "Block a source"), el("label", {}, "Address or prefix", target), answer.node, submit),
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Blocked sources" }, this.table), this.rest);
  }

  async load() {
    const { blocks } = await this.session.get(`/v1/blocks?limit=${LISTED}`);
    fill(this.table, blocks, ({ target }) => target, ({ target, origin, remaining_s, packets, reason }) => [
      target, seconds(remaining_s), count(packets), reason ? `${words(origin)}: ${reason}` : words(origin),
      change(this.session, "Unblock", async () => {
        const done = await unblock(this.session, target);
        this.soon();
        return done;
      }, `Unblock ${target}`),
    ]);
    say(this.table.caption, blocks.length === 0 ? "No source is blocked." : "By address.");
    say(this.rest, blocks.length === LISTED ? `The first ${LISTED}; for more: portcullis blocks.` : "");
  }

  message({ topic }) {
    if (topic === "blocks") this.soon();
  }

  tick() {
    this.soon();
  }

  soon() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.load().catch((problem) => tell(explain(problem)));
    }, TOGETHER);
  }
}
