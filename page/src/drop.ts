import type { Context } from "./context";
import { h, plural } from "./dom";
import type { MapView } from "./map/map";
import type { ObjectPanel } from "./panels/object";

/** A file dragged onto the page: where it lies, and whom it resembles. */
export class DropZone {
  private readonly veil = h("div", { class: "veil", hidden: true }, h("p", {}, "Drop the image to see where it lies and what it resembles"));
  private depth = 0;

  constructor(
    private readonly ctx: Context,
    private readonly map: MapView,
    private readonly panel: ObjectPanel,
  ) {
    const { root } = ctx;
    const input = h("input", { type: "file", class: "only-read", id: "drop-input", tabindex: -1, "aria-label": "Place a FITS file on the map", onchange: () => {
      if (input.files?.[0]) void this.take(input.files[0]);
      input.value = "";
    } });
    root.append(this.veil, input);
    root.addEventListener("dragenter", (e) => {
      if (!e.dataTransfer?.types.includes("Files")) return;
      this.depth++;
      this.veil.hidden = false;
    });
    root.addEventListener("dragleave", () => {
      this.depth = Math.max(0, this.depth - 1);
      this.veil.hidden = this.depth === 0;
    });
    root.addEventListener("dragover", (e) => e.preventDefault());
    root.addEventListener("drop", (e) => {
      e.preventDefault();
      this.depth = 0;
      this.veil.hidden = true;
      const file = e.dataTransfer?.files[0];
      if (file) void this.take(file);
    });
  }

  private async take(file: File): Promise<void> {
    const { ctx } = this;
    ctx.notice(`Placing ${file.name} …`);
    await ctx.attempt(async () => {
      if (file.size > 256 * 2 ** 20) throw new Error(`${file.name} is larger than 256 MiB; cut the object out first.`);
      const dropped = await ctx.source.drop(file);
      ctx.store.set({ chosen: -1, dropped: dropped.dropped, panel: "object", sheet: true, view: "map" });
      const place = dropped.place[ctx.store.state.map];
      if (place && place.every(Number.isFinite)) {
        const [a, b] = ctx.store.state.axes;
        this.map.dropped([place[a], place[b]]);
      } else this.map.dropped(null);
      ctx.notice(`${dropped.name} is placed${place ? " (the star on the map)" : ""}; ${plural(dropped.hits.length, "similar object")}.`);
      await this.panel.showDropped(dropped);
    });
  }
}
