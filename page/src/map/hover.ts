import { paintThumb } from "../cache";
import type { Context } from "../context";
import { h } from "../dom";
import type { ShownMap } from "./shown";

const THUMB = 112;

/** The card beside the pointer: cut-out, id, value of the colour. */
export class HoverCard {
  private readonly picture = h("div", { class: "thumb" });
  private readonly name = h("div", { class: "id" });
  private readonly value = h("div", { class: "value" });
  readonly element = h("div", { class: "hover", hidden: true }, this.picture, this.name, this.value);
  private row = -1;
  static describe: (row: number) => string = () => "";

  constructor(private readonly ctx: Context) {
    ctx.thumbs.onLoad(() => this.paint());
    this.picture.hidden = !ctx.source.can.thumbs;
  }

  show(row: number, px: number, py: number, map: ShownMap): void {
    map.stage.classList.toggle("over", row >= 0);
    if (row < 0) {
      this.hide();
      return;
    }
    const [width, height] = map.size;
    this.element.hidden = false;
    this.element.style.left = `${px + 150 > width ? px - 144 : px + 14}px`;
    this.element.style.top = `${Math.max(4, Math.min(height - 170, py - 40))}px`;
    if (row === this.row) return;
    this.row = row;
    this.name.textContent = this.ctx.rows.peek(row)?.id ?? "…";
    this.value.textContent = HoverCard.describe(row);
    this.paint();
    void this.ctx.rows.get(row).then((known) => {
      if (this.row === row) this.name.textContent = known.id;
    });
  }

  private paint(): void {
    if (this.row >= 0 && !this.element.hidden) paintThumb(this.picture, this.ctx.thumbs.get(this.row), THUMB);
  }

  hide(): void {
    this.element.hidden = true;
    this.row = -1;
  }
}
