import { paintThumb } from "../cache";
import type { Context } from "../context";
import { choice, fill, h, number, setOptions } from "../dom";

const PAGE = 50;

/** The objects that stand alone, the oddest first, with the reason. */
export class OddPanel {
  readonly element = h("div", { class: "panel-body" });
  private readonly select: HTMLSelectElement;
  private readonly field: HTMLElement;
  private readonly list = h("ol", { class: "odd-list" });
  private readonly more: HTMLButtonElement;
  private readonly none = h("div");
  private shown = "";
  private offset = 0;

  constructor(private readonly ctx: Context) {
    this.field = choice("Method", [], "", (name) => void this.show(name));
    this.select = this.field.querySelector("select")!;
    this.more = h("button", { type: "button", class: "button", onclick: () => void this.extend() }, "More");
    this.element.append(h("h2", {}, "The odd ones"), this.field, this.none, this.list, this.more);
    ctx.store.on(["panel"], (s) => {
      if (s.panel === "odd") this.open();
    });
    ctx.store.on(["chosen"], () => this.mark());
    ctx.thumbs.onLoad(() => this.paint());
    if (ctx.store.state.panel === "odd") this.open();
  }

  private open(): void {
    const { anomalies } = this.ctx.space;
    this.field.hidden = this.more.hidden = !anomalies.length;
    fill(this.none);
    if (!anomalies.length) {
      fill(this.none, h("p", { class: "quiet" }, "No list of odd objects yet. Make one with ‘morphospace anomalies’ on these embeddings, then come back."),
        h("button", { type: "button", class: "button", onclick: () => void this.ctx.refresh().then(() => this.open()) }, "Look again"));
      return;
    }
    const name = this.shown || anomalies[0].name;
    setOptions(this.select, anomalies.map((a) => ({ value: a.name, text: a.name })), name);
    if (!this.shown) void this.show(name);
  }

  private async show(name: string): Promise<void> {
    this.shown = name;
    this.offset = 0;
    fill(this.list);
    await this.extend();
  }

  private async extend(): Promise<void> {
    const { ctx } = this;
    const name = this.shown;
    await ctx.attempt(async () => {
      const found = await ctx.source.anomalies(name, this.offset, PAGE);
      if (name !== this.shown) return;
      this.offset += found.length;
      this.more.hidden = found.length < PAGE;
      for (const odd of found) {
        const id = h("span", { class: "id" }, "…");
        this.list.append(h("li", {}, h("button", { type: "button", class: "odd", "data-row": odd.row, onclick: () => ctx.choose(odd.row) },
          h("span", { class: "rank" }, String(odd.rank)), h("span", { class: "thumb" }), h("span", { class: "odd-text" }, id, h("span", { class: "note" }, number(odd.score)), h("span", { class: "reason" }, odd.reason)))));
        void ctx.rows.get(odd.row).then((row) => (id.textContent = row.id));
      }
      this.paint();
      this.mark();
    });
  }

  private paint(): void {
    if (this.ctx.store.state.panel !== "odd" || !this.ctx.source.can.thumbs) return;
    for (const button of this.list.querySelectorAll<HTMLElement>("[data-row]")) {
      paintThumb(button.querySelector<HTMLElement>(".thumb")!, this.ctx.thumbs.get(Number(button.dataset.row)), 52);
    }
  }

  private mark(): void {
    for (const button of this.list.querySelectorAll<HTMLElement>("[data-row]")) button.setAttribute("aria-pressed", String(Number(button.dataset.row) === this.ctx.store.state.chosen));
  }
}
