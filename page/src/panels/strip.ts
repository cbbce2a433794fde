import { paintThumb } from "../cache";
import type { Context } from "../context";
import { fill, h, iconButton } from "../dom";

export interface Card {
  row: number;
  note?: string;
  title?: string;
}

export interface StripOptions {
  px?: number;
  label: string;
  /** Buttons on each card. */
  query?: boolean;
  alike?: (row: number) => void;
  pick?: (row: number) => void;
}

/** Pictures in a row that wraps: neighbours, members, examples. */
export class Strip {
  readonly element: HTMLElement;
  private cards: { row: number; picture: HTMLElement; name: HTMLElement }[] = [];
  private readonly px: number;

  constructor(
    private readonly ctx: Context,
    private readonly options: StripOptions,
  ) {
    this.px = options.px ?? 64;
    this.element = h("ul", { class: "strip", "aria-label": options.label, style: { "--thumb": `${this.px}px` } });
    const stop = ctx.thumbs.onLoad(() => {
      if (!this.element.isConnected && this.cards.length === 0) stop();
      else this.paint();
    });
  }

  show(cards: Card[]): void {
    this.cards = [];
    fill(this.element, ...cards.map((card) => this.card(card)));
    this.paint();
    for (const card of this.cards) void this.ctx.rows.get(card.row).then((row) => (card.name.textContent = row.id));
  }

  private card({ row, note, title }: Card): HTMLElement {
    const { store } = this.ctx;
    const picture = h("span", { class: "thumb" });
    const name = h("span", { class: "id" }, "…");
    this.cards.push({ row, picture, name });
    const main = h("button", { type: "button", class: "card", title, onclick: () => (this.options.pick ?? ((r: number) => this.ctx.choose(r)))(row) },
      picture, name, note ? h("span", { class: "note" }, note) : null);
    const buttons = h("span", { class: "card-tools" });
    if (this.options.query && this.ctx.source.can.neighbours) {
      buttons.append(
        iconButton("yes", "More like this", () => store.set({ like: toggled(store.state.like, row), unlike: store.state.unlike.filter((r) => r !== row), panel: "query" })),
        iconButton("no", "Less like this", () => store.set({ unlike: toggled(store.state.unlike, row), like: store.state.like.filter((r) => r !== row), panel: "query" })),
      );
    }
    if (this.options.alike && this.ctx.source.can.alike) buttons.append(iconButton("alike", "What makes them alike?", () => this.options.alike!(row)));
    return h("li", {}, main, buttons.childElementCount ? buttons : null);
  }

  private paint(): void {
    if (!this.element.isConnected && !this.cards.length) return;
    for (const card of this.cards) {
      if (this.ctx.source.can.thumbs) paintThumb(card.picture, this.ctx.thumbs.get(card.row), this.px);
    }
  }
}

export const toggled = (rows: number[], row: number): number[] => (rows.includes(row) ? rows.filter((r) => r !== row) : [...rows, row]);
