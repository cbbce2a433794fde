import { paintThumb } from "../cache";
import type { Context } from "../context";
import { fill, h, icon, iconButton, plural, whole } from "../dom";
import type { Hit } from "../types";
import { Strip } from "./strip";

/** Search by several examples: these yes, these no. */
export class QueryPanel {
  readonly element = h("div", { class: "panel-body" });
  private readonly examples = h("div", { class: "examples" });
  private readonly answer = h("p", { class: "quiet", role: "status" });
  private readonly strip: Strip;
  private readonly k: HTMLInputElement;
  private readonly radius: HTMLInputElement;
  private asked = 0;
  private hits: Hit[] = [];
  private readonly tools = h("div", { class: "buttons" });
  onHits: (hits: Hit[]) => void = () => undefined;

  constructor(private readonly ctx: Context) {
    const { store } = ctx;
    this.k = h("input", { type: "number", min: 1, max: 500, value: "48", onchange: () => void this.run() });
    this.radius = h("input", { type: "text", placeholder: "10arcsec", "aria-label": "Leave out what lies within this angle of an example", onchange: () => void this.run() });
    this.strip = new Strip(ctx, { label: "Found objects", query: true });
    this.element.append(h("h2", {}, "More like these"), this.examples,
      h("div", { class: "fields" }, h("label", { class: "field" }, h("span", {}, "How many"), this.k),
        ctx.space.positions && ctx.source.live ? h("label", { class: "field" }, h("span", {}, "Not within"), this.radius) : null),
      this.answer, this.tools, this.strip.element);
    store.on(["like", "unlike"], () => void this.run());
    store.on(["filter"], () => {
      if (store.state.panel === "query") void this.run();
    });
    ctx.thumbs.onLoad(() => this.paint());
    if (store.state.like.length || store.state.unlike.length) void this.run();
    else this.show();
  }

  private show(): void {
    const { store } = this.ctx;
    const { like, unlike } = store.state;
    const group = (name: string, rows: number[], key: "like" | "unlike") => h("div", { class: `example-group ${key}` },
      h("span", { class: "group-name" }, icon(key === "like" ? "yes" : "no"), name),
      ...rows.map((row) => {
        const chip = h("span", { class: "example", "data-row": row }, h("button", { type: "button", class: "thumb", "aria-label": "Choose this example", onclick: () => this.ctx.choose(row) }),
          iconButton("close", "Remove this example", () => store.set({ [key]: rows.filter((r) => r !== row) })));
        void this.ctx.rows.get(row).then((known) => chip.querySelector("button")?.setAttribute("aria-label", known.id));
        return chip;
      }), rows.length ? null : h("span", { class: "quiet" }, "none"));
    fill(this.examples, group("Yes", like, "like"), group("No", unlike, "unlike"));
    const { chosen } = store.state;
    if (!like.length) {
      this.answer.textContent = unlike.length ? "Add at least one object that you want more of." : "Give examples: choose an object and press Y (more like this) or N (less like this), or use the buttons under the pictures.";
      if (chosen >= 0) fill(this.tools, h("button", { type: "button", class: "button", onclick: () => store.set({ like: [chosen] }) }, "Use the chosen object"));
      else fill(this.tools);
      this.strip.show([]);
    }
    this.paint();
  }

  private paint(): void {
    for (const chip of this.examples.querySelectorAll<HTMLElement>("[data-row]")) {
      paintThumb(chip.querySelector<HTMLElement>(".thumb")!, this.ctx.thumbs.get(Number(chip.dataset.row)), 44);
    }
  }

  private async run(): Promise<void> {
    const { ctx } = this;
    const { like, unlike, where } = ctx.store.state;
    const asked = ++this.asked;
    this.show();
    if (!like.length) {
      this.onHits([]);
      return;
    }
    this.answer.textContent = "Searching …";
    try {
      const found = await ctx.source.neighbours({ like, unlike, dropped: null, k: Math.max(1, Math.min(500, this.k.valueAsNumber || 48)), where: where || null, exclude_radius: this.radius.value.trim() || null });
      if (asked !== this.asked) return;
      this.hits = found.hits;
      this.answer.textContent = `${plural(found.hits.length, "object")} of ${whole(found.n_searched)} searched, most similar first.`;
      fill(this.tools, h("button", { type: "button", class: "button", onclick: () => ctx.store.set({ selection: Uint32Array.from(this.hits.map((hit) => hit.row)).sort() }) }, "Select them"),
        h("button", { type: "button", class: "button", onclick: () => ctx.store.set({ like: [], unlike: [] }) }, "Clear the examples"));
      this.strip.show(found.hits.map((hit) => ({ row: hit.row, note: hit.similarity.toFixed(3), title: hit.id })));
      this.onHits(found.hits);
    } catch (error) {
      if (asked === this.asked) this.answer.textContent = error instanceof Error ? error.message : String(error);
    }
  }
}
