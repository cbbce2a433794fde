import type { Context } from "../context";
import { fill, h, iconButton } from "../dom";
import { PictureView } from "../picture";
import type { Alike } from "../types";

/** Two pictures side by side, with what makes them alike laid over. */
export class AlikeDialog {
  private readonly dialog = h("dialog", { class: "dialog wide", "aria-labelledby": "alike-title" });

  constructor(private readonly ctx: Context) {}

  async open(a: number, b: number): Promise<void> {
    if (a < 0) return;
    const { ctx } = this;
    await ctx.attempt(async () => {
      const views = [new PictureView(300), new PictureView(300)];
      const verdict = h("p", { class: "quiet" }, "Covering the pictures piece by piece …");
      const names = h("div", { class: "pair" });
      fill(this.dialog, h("header", {}, h("h2", { id: "alike-title" }, "What makes them alike"), iconButton("close", "Close", () => this.dialog.close())),
        h("div", { class: "pair" }, ...views.map((v) => v.element)), names, verdict);
      if (!this.dialog.isConnected) ctx.root.append(this.dialog);
      if (!this.dialog.open) this.dialog.showModal();
      const [first, second] = await Promise.all([ctx.source.pixels(a), ctx.source.pixels(b)]);
      const [one, two] = await ctx.rows.all([a, b]);
      fill(names, h("p", { class: "id" }, one.id), h("p", { class: "id" }, two.id));
      views[0].set(first, one.id);
      views[1].set(second, two.id);
      const draw = () => views.forEach((v) => v.draw(ctx.store.state.picture));
      draw();
      try {
        const alike = await ctx.source.alike(a, b);
        views[0].heat = scaled(alike.a);
        views[1].heat = scaled(alike.b);
        draw();
        verdict.textContent = `Similarity ${alike.similarity.toFixed(3)}. Orange: where covering the picture costs the most similarity, each on its own scale.`;
      } catch (error) {
        verdict.textContent = error instanceof Error ? error.message : String(error);
      }
    });
  }
}

/** Heat from 0 to 1: a bright object may hold nearly all of what both have in common. */
function scaled(side: Alike["a"]): Alike["a"] {
  const most = side.heat.reduce((a, b) => Math.max(a, b), 0);
  return { ...side, heat: most > 0 ? side.heat.map((v) => v / most) : side.heat };
}
