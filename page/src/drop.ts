import type { Context } from "./context";
import { h, plural } from "./dom";
import type { MapView } from "./map/map";
import type { ObjectPanel } from "./panels/object";
import type { Dropped } from "./types";

/** A file dragged onto the page: where it lies, and whom it resembles. */
export class DropZone {
  private readonly veil = h("div", { class: "veil", hidden: true }, h("p", {}, "Drop the image to see where it lies and what it resembles"));
  private depth = 0;
  private placed: Dropped | null = null;

  constructor(
    private readonly ctx: Context,
    private readonly map: MapView,
    private readonly panel: ObjectPanel,
  ) {
    const { root } = ctx;
    ctx.store.on(["map", "axes", "dropped"], () => this.star());
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

  /** Put the star on the map that is shown; false if that map cannot place new objects. */
  private star(): boolean {
    const { map, axes, dropped } = this.ctx.store.state;
    const place = dropped !== null && dropped === this.placed?.dropped ? this.placed.place[map] : undefined;
    const known = place !== undefined && place.every(Number.isFinite);
    this.map.dropped(known ? [place[axes[0]], place[axes[1]]] : null);
    return known;
  }

  private async take(file: File): Promise<void> {
    const { ctx } = this;
    ctx.notice(`Placing ${file.name} …`);
    await ctx.attempt(async () => {
      if (file.size > 256 * 2 ** 20) throw new Error(`${file.name} is larger than 256 MiB; cut the object out first.`);
      const dropped = await ctx.source.drop(file);
      ctx.store.set({ chosen: -1, dropped: dropped.dropped, panel: "object", sheet: true, view: "map" });
      this.placed = dropped;
      const starred = this.star();
      ctx.notice(`${dropped.name} is placed${starred ? " (the star on the map)" : ""}; ${plural(dropped.hits.length, "similar object")}.`);
      await this.panel.showDropped(dropped);
    });
  }
}
