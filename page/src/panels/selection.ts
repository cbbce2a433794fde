import type { Context } from "../context";
import { fill, h, plural, save, whole } from "../dom";
import type { ExportFormat } from "../types";
import { Strip } from "./strip";

const SEEN = 120;
const NAMES: Record<ExportFormat, [string, string]> = { csv: ["CSV", "csv"], votable: ["VOTable", "vot"], fits: ["FITS", "fits"], parquet: ["Parquet", "parquet"] };

/** What is selected, and where it can go. */
export class SelectionPanel {
  readonly element = h("div", { class: "panel-body" });
  private readonly title = h("h2", {}, "Nothing selected");
  private readonly tools = h("div");
  private readonly strip: Strip;

  constructor(private readonly ctx: Context) {
    this.strip = new Strip(ctx, { label: "Selected objects", px: 52 });
    this.element.append(this.title, this.tools, this.strip.element);
    ctx.store.on(["selection", "panel", "filter"], () => this.show());
    this.show();
  }

  private show(): void {
    const { store, source } = this.ctx;
    const { selection, filter, panel } = store.state;
    if (panel !== "selection") return;
    this.title.textContent = selection.length ? `${plural(selection.length, "object")} selected` : "Nothing selected";
    this.tools.replaceChildren();
    if (!selection.length) {
      fill(this.tools, h("p", { class: "quiet" }, "Draw around points with the lasso (L) or a box (B), or Ctrl-click objects in the gallery or the table. Shift adds, Alt takes away."),
        filter ? h("button", { type: "button", class: "button", onclick: () => store.set({ selection: filter.slice() }) }, `Select the ${whole(filter.length)} that match the filter`) : null);
      this.strip.show([]);
      return;
    }
    const button = (text: string, act: () => void, primary = false) => h("button", { type: "button", class: primary ? "button primary" : "button", onclick: act }, text);
    fill(this.tools,
      h("div", { class: "buttons" }, button("Gallery", () => store.set({ view: "gallery", scope: "selection" })), button("Table", () => store.set({ view: "table", scope: "selection" })),
        button("Invert", () => this.invert()), button("Clear", () => store.set({ selection: new Uint32Array() }))),
      h("h3", {}, "Take away"),
      h("div", { class: "buttons" }, ...source.formats.map((f) => button(NAMES[f][0], () => void this.export(f))),
        source.can.samp && this.ctx.space.samp !== false ? button("Send to TOPCAT, Aladin", () => void this.samp()) : null),
      selection.length > SEEN ? h("p", { class: "quiet" }, `The first ${SEEN} of them:`) : null);
    this.strip.show(Array.from(selection.subarray(0, SEEN), (row) => ({ row })));
  }

  private invert(): void {
    const { store, space } = this.ctx;
    const inside = new Set(store.state.selection);
    const pool = store.state.filter ?? Uint32Array.from({ length: space.n }, (_, i) => i);
    store.set({ selection: pool.filter((row) => !inside.has(row)) });
  }

  private async export(format: ExportFormat): Promise<void> {
    const { ctx } = this;
    await ctx.attempt(async () => {
      const rows = Array.from(ctx.store.state.selection);
      const name = `${ctx.space.name.replace(/[^\w.-]+/g, "_").replace(/\.emb$/, "")}_selection.${NAMES[format][1]}`;
      save(await ctx.source.exportRows(rows, format), name);
      ctx.notice(`${plural(rows.length, "object")} saved as ${name}.`);
    });
  }

  private async samp(): Promise<void> {
    const { ctx } = this;
    await ctx.attempt(async () => {
      const to = await ctx.source.samp(Array.from(ctx.store.state.selection));
      ctx.notice(to.length ? `Sent to ${to.join(", ")}.` : "The hub runs, but no program there takes tables: start TOPCAT or Aladin.");
    });
  }
}
