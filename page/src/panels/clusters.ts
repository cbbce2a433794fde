import type { Context } from "../context";
import { choice, fill, h, setOptions, whole } from "../dom";
import { categoryColour, css } from "../maths/colours";
import { combined, modeOf } from "../state";
import { cell } from "./object";
import { Strip } from "./strip";

/** Galleries of the clusters: typical and random members, figures of merit. */
export class ClustersPanel {
  readonly element = h("div", { class: "panel-body" });
  private readonly select: HTMLSelectElement;
  private readonly body = h("div");
  private kind: "typical" | "random" = "typical";
  private shown = "";
  private readonly field: HTMLElement;

  constructor(private readonly ctx: Context) {
    const field = choice("Clusters", [], "", (name) => {
      ctx.store.set({ colour: `@cluster:${name}` });
      void this.show(name);
    });
    this.select = field.querySelector("select")!;
    const kind = choice("Members", [{ value: "typical", text: "typical" }, { value: "random", text: "random" }], "typical", (v) => {
      this.kind = v as "typical" | "random";
      void this.show(this.shown);
    });
    this.field = h("div", { class: "fields" }, field, kind);
    this.element.append(h("h2", {}, "Clusters"), this.field, this.body);
    ctx.store.on(["panel"], (s) => {
      if (s.panel === "clusters") this.open();
    });
    if (ctx.store.state.panel === "clusters") this.open();
  }

  private open(): void {
    const { space, store } = this.ctx;
    this.field.hidden = !space.clusters.length;
    if (!space.clusters.length) {
      fill(this.body, h("p", { class: "quiet" }, "No clusters yet. Make some with ‘morphospace cluster’ on these embeddings, then come back."),
        h("button", { type: "button", class: "button", onclick: () => void this.ctx.refresh().then(() => this.open()) }, "Look again"));
      return;
    }
    const coloured = store.state.colour.replace(/^@cluster:/, "");
    const name = space.clusters.find((c) => c.name === coloured)?.name ?? (this.shown || space.clusters[0].name);
    setOptions(this.select, space.clusters.map((c) => ({ value: c.name, text: `${c.name} (${c.k})` })), name);
    if (name !== this.shown) void this.show(name);
  }

  private async show(name: string): Promise<void> {
    this.shown = name;
    const { ctx } = this;
    await ctx.attempt(async () => {
      const gallery = await ctx.source.clusters(name);
      if (this.shown !== name) return;
      const facts = h("dl", { class: "facts" });
      for (const [key, value] of Object.entries(gallery.figures ?? {})) {
        if (value !== null && typeof value !== "object") facts.append(h("dt", {}, key.replaceAll("_", " ")), h("dd", {}, cell(value)));
      }
      fill(this.body, facts.childElementCount ? h("details", { class: "folded" }, h("summary", {}, figures(gallery.figures ?? {})), facts) : null, ...gallery.clusters.map((c) => {
        const strip = new Strip(ctx, { px: 48, label: `Members of cluster ${c.label}` });
        strip.show(c[this.kind].map((row) => ({ row })));
        const notes = [whole(c.n)];
        if (typeof c.stability === "number") notes.push(`stability ${c.stability.toFixed(2)}`);
        if (typeof c.mean_probability === "number") notes.push(`mean p ${c.mean_probability.toFixed(2)}`);
        return h("section", { class: "cluster bare-names" }, h("h3", {},
          h("span", { class: "swatch", style: c.label >= 0 ? { background: css(categoryColour(c.label)) } : {} }), c.label < 0 ? "no cluster" : `Cluster ${c.label}`, h("span", { class: "quiet" }, notes.join(" · ")),
          h("button", { type: "button", class: "text-button", onclick: (e: MouseEvent) => void this.pick(name, c.label, e) }, "Select")), strip.element);
      }));
    });
  }

  private async pick(name: string, label: number, event: MouseEvent): Promise<void> {
    const { ctx } = this;
    await ctx.attempt(async () => {
      const column = await ctx.column(`@cluster:${name}`);
      const rows: number[] = [];
      column.values.forEach((v: number, row: number) => {
        if (v === label) rows.push(row);
      });
      ctx.store.set({ selection: combined(ctx.store.state.selection, rows, modeOf(event)) });
    });
  }
}

/** The figures that matter, in one line. */
function figures(all: Record<string, unknown>): string {
  const parts = ["silhouette", "stability"].filter((key) => typeof all[key] === "number").map((key) => `${key} ${(all[key] as number).toFixed(2)}`);
  return parts.length ? `${parts.join(", ")}; all figures` : "Figures";
}
