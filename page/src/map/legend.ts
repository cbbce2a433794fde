import { type Painted, nameOfColour } from "../colouring";
import type { Context } from "../context";
import { choice, fill, h, iconButton, number, whole } from "../dom";
import { RAMP_NAMES, categoryColour, css, gradient } from "../maths/colours";
import type { Column } from "../types";

/** What the colours mean: a bar for numbers, chips that switch for categories. */
export class Legend {
  readonly element = h("section", { class: "legend", "aria-label": "Legend" });

  private touched: number | null = null;

  constructor(private readonly ctx: Context) {}

  show(column: Column | null, painted: Painted): void {
    const { state } = this.ctx.store;
    this.element.hidden = !column;
    if (!column) return;
    const title = h("h2", { class: "legend-title" }, nameOfColour(state.colour));
    if (column.kind === "category") fill(this.element, title, this.chips(column.categories, painted.counts));
    else fill(this.element, title, ...this.bar(painted));
    if (this.touched !== null) this.element.querySelector<HTMLElement>(`[data-code="${this.touched}"]`)?.focus(); // the chips are new ones
    this.touched = null;
  }

  private chips(categories: string[], counts: number[]): HTMLElement {
    const { store } = this.ctx;
    const list = h("div", { class: "chips" });
    const add = (code: number, name: string, count: number, colour: string | null) => {
      if (!count) return;
      const on = !store.state.off.has(code);
      list.append(h("button", {
        type: "button", class: "chip", "data-code": code, "aria-pressed": String(on), title: "Show or hide; Alt-click: only this one",
        onclick: (event: MouseEvent) => this.toggle(code, categories.length, event.altKey),
      }, h("span", { class: "swatch", style: colour ? { background: colour } : {} }), h("span", { class: "chip-name" }, name), h("span", { class: "count" }, whole(count))));
    };
    categories.forEach((name, code) => add(code, name, counts[code], css(categoryColour(code))));
    add(-1, "none", counts[categories.length], null);
    return list;
  }

  private toggle(code: number, n: number, only: boolean): void {
    const { store } = this.ctx;
    const off = new Set(store.state.off);
    this.touched = code;
    if (only) {
      const alone = !off.has(code) && off.size === n;
      off.clear();
      if (!alone) for (let c = -1; c < n; c++) if (c !== code) off.add(c);
    } else if (!off.delete(code)) off.add(code);
    store.set({ off });
  }

  private bar(painted: Painted): HTMLElement[] {
    const { store } = this.ctx;
    const { ramp, reversed } = store.state;
    if (!painted.limits) return [h("p", { class: "quiet" }, "No values.")];
    const pick = choice("Colour map", RAMP_NAMES.map((r) => ({ value: r, text: r })), ramp, (r) => store.set({ ramp: r }), { class: "small" });
    pick.classList.add("bare");
    return [
      h("div", { class: "colour-bar", style: { background: gradient(ramp, reversed) } }),
      h("div", { class: "bar-ends" }, h("span", {}, number(painted.limits[0])), h("span", {}, number((painted.limits[0] + painted.limits[1]) / 2)), h("span", {}, number(painted.limits[1]))),
      h("div", { class: "bar-tools" }, pick, iconButton("swap", "Reverse the colour map", () => store.set({ reversed: !store.state.reversed }), { "aria-pressed": String(reversed) })),
    ];
  }
}
