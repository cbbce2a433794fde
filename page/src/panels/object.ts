import { inOrder } from "../colouring";
import type { Context } from "../context";
import { fill, h, icon, iconButton, number } from "../dom";
import { sexagesimal } from "../maths/scalebar";
import { PictureControls, PictureView } from "../picture";
import type { Dropped, Hit, Pixels, Row } from "../types";
import { AlikeDialog } from "./alike";
import { Strip, toggled } from "./strip";

const NEIGHBOURS = 12;
const TOLD = new Set(["ra", "dec", "object", "flags", "pixel_scale_arcsec", "source"]); // said in words elsewhere in the panel

/** The chosen object: picture, place on the sky, columns, neighbours. */
export class ObjectPanel {
  readonly element = h("div", { class: "panel-body" });
  private readonly picture = new PictureView(348);
  private readonly controls: PictureControls;
  private readonly head = h("div", { class: "object-head" });
  private readonly facts = h("div");
  private readonly strip: Strip;
  private readonly nearTitle = h("h3", {}, "Neighbours");
  private readonly near: HTMLElement;
  private readonly empty: HTMLElement;
  private readonly content: HTMLElement;
  private asked = 0;
  private shown = -1;
  private readonly alike: AlikeDialog;
  onHits: (hits: Hit[]) => void = () => undefined;
  onPixels: (pixels: Pixels) => void = () => undefined;

  constructor(private readonly ctx: Context) {
    this.controls = new PictureControls(ctx);
    this.alike = new AlikeDialog(ctx);
    this.strip = new Strip(ctx, { label: "Neighbours", query: true, alike: (row) => {
      if (ctx.store.state.chosen < 0) ctx.notice("What makes two alike is shown for objects of the store; a dropped file is not in it.");
      else void this.alike.open(ctx.store.state.chosen, row);
    } });
    this.near = h("section", { hidden: !ctx.source.can.neighbours }, this.nearTitle, this.strip.element);
    this.empty = h("div", { class: "empty" }, h("p", {}, "Choose an object on the map, in the gallery or in the table: its picture, its columns and its neighbours appear here."),
      ctx.source.can.drop ? h("p", {}, "Or drop a FITS file anywhere on this page to see where it lies.") : null);
    this.content = h("div", { hidden: true }, this.head, ctx.source.can.pixels ? this.picture.element : null,
      ctx.source.can.pixels ? this.controls.element : null, this.near, this.facts);
    this.element.append(this.empty, this.content);
    ctx.store.on(["chosen", "panel", "sheet"], (s) => {
      if (s.chosen < 0) {
        this.shown = -1;
        if (s.dropped === null) this.clear();
      } else if (s.panel === "object" && s.chosen !== this.shown) void this.show(s.chosen);
      else if (s.chosen !== this.shown) this.onHits([]);
    });
    ctx.store.on(["like", "unlike"], (s) => {
      for (const [key, rows] of [["like", s.like], ["unlike", s.unlike]] as const) {
        this.head.querySelector(`[data-example=${key}]`)?.setAttribute("aria-pressed", String(rows.includes(s.chosen)));
      }
    });
    ctx.store.on(["filter"], (s) => {
      if (s.chosen >= 0 && s.chosen === this.shown) void this.showNeighbours(s.chosen, this.asked);
    });
    ctx.store.on(["picture"], (s) => this.picture.draw(s.picture));
  }

  private clear(): void {
    this.content.hidden = true;
    this.empty.hidden = false;
    this.onHits([]);
  }

  async show(row: number): Promise<void> {
    const asked = ++this.asked;
    this.shown = row;
    this.empty.hidden = true;
    this.content.hidden = false;
    await Promise.all([this.showFacts(row, asked), this.showPixels(row, row, asked), this.showNeighbours(row, asked)]);
  }

  /** A dropped file: its picture, and whom it resembles. */
  async showDropped(dropped: Dropped): Promise<void> {
    const asked = ++this.asked;
    this.empty.hidden = true;
    this.content.hidden = false;
    fill(this.head, h("h2", { class: "id" }, dropped.name), h("p", { class: "quiet" }, dropped.novelty === null ? "Dropped file." : `Dropped file; novelty ${number(dropped.novelty)}.`));
    fill(this.facts);
    this.nearTitle.textContent = "Most similar objects";
    this.strip.show(dropped.hits.map(card));
    this.onHits(dropped.hits);
    this.ctx.say(`${dropped.name} is placed on the map; ${dropped.hits.length} similar objects.`);
    await this.showPixels(dropped.dropped, dropped.name, asked);
  }

  private async showPixels(of: number | string, name: string | number, asked: number): Promise<void> {
    if (!this.ctx.source.can.pixels) return;
    try {
      const pixels = await this.ctx.source.pixels(of);
      if (asked !== this.asked) return;
      this.picture.set(pixels, String(name));
      this.controls.offer(pixels);
      this.picture.draw(this.ctx.store.state.picture);
      this.onPixels(pixels);
    } catch (error) {
      if (asked === this.asked) this.picture.say(error instanceof Error ? error.message : String(error));
    }
  }

  private async showNeighbours(row: number, asked: number): Promise<void> {
    if (!this.ctx.source.can.neighbours) return;
    const { store } = this.ctx;
    await this.ctx.attempt(async () => {
      const found = await this.ctx.source.neighbours({ like: [row], unlike: [], dropped: null, k: NEIGHBOURS, where: store.state.where || null, exclude_radius: null });
      if (asked !== this.asked) return;
      this.nearTitle.textContent = "Neighbours";
      const hits = found.hits.filter((hit) => hit.row !== row);
      this.strip.show(hits.map(card));
      this.onHits(hits);
    });
  }

  private async showFacts(row: number, asked: number): Promise<void> {
    const known = await this.ctx.rows.get(row);
    if (asked !== this.asked) return;
    this.picture.element.querySelector("canvas")?.setAttribute("aria-label", `Cut-out of ${known.id}`);
    fill(this.head, h("h2", { class: "id", title: known.id }, known.id), this.actions(row),
      known.object && known.object !== known.id ? h("p", { class: "quiet" }, known.object) : null);
    fill(this.facts, hasPlace(known) ? this.sky(known) : null, this.columns(known));
    this.ctx.say(`Chosen: ${known.id}`);
  }

  private actions(row: number): HTMLElement {
    const { store } = this.ctx;
    const s = store.state;
    const query = this.ctx.source.can.neighbours ? [
      iconButton("yes", "More like this (Y)", () => store.set({ like: toggled(store.state.like, row), unlike: store.state.unlike.filter((r) => r !== row), panel: "query" }), { "aria-pressed": String(s.like.includes(row)), "data-example": "like" }),
      iconButton("no", "Less like this (N)", () => store.set({ unlike: toggled(store.state.unlike, row), like: store.state.like.filter((r) => r !== row), panel: "query" }), { "aria-pressed": String(s.unlike.includes(row)), "data-example": "unlike" }),
    ] : [];
    return h("div", { class: "actions" }, ...query,
      iconButton("select", "Add to the selection (S)", () => store.set({ selection: Uint32Array.from(new Set([...store.state.selection, row])).sort() })),
      iconButton("close", "Let go (Esc)", () => store.set({ chosen: -1, dropped: null })));
  }

  private sky(known: Row): HTMLElement {
    const ra = known.ra!;
    const dec = known.dec!;
    const at = `${ra.toFixed(6)} ${dec.toFixed(6)}`;
    const fov = ((known.pixel_scale_arcsec ?? 1) * (known.shape?.[2] ?? 60)) / 3600;
    const link = (name: string, href: string) => h("a", { href, target: "_blank", rel: "noreferrer noopener", class: "out" }, name, icon("link"));
    return h("section", {}, h("h3", {}, "Sky"),
      h("p", { class: "mono" }, sexagesimal(ra, dec)), h("p", { class: "mono quiet" }, `${ra.toFixed(5)}°, ${dec.toFixed(5)}°`),
      h("p", { class: "outs" },
        link("Aladin", `https://aladin.cds.unistra.fr/AladinLite/?target=${encodeURIComponent(at)}&fov=${Math.max(0.005, 3 * fov).toFixed(4)}`),
        link("SIMBAD", `https://simbad.cds.unistra.fr/simbad/sim-coo?Coord=${encodeURIComponent(at)}&Radius=1&Radius.unit=arcmin`),
        link("Legacy viewer", `https://www.legacysurvey.org/viewer?ra=${ra.toFixed(6)}&dec=${dec.toFixed(6)}&layer=ls-dr10&zoom=15`)));
  }

  private columns(known: Row): HTMLElement {
    const pairs: [string, string][] = [];
    const add = (name: string, value: unknown) => {
      const text = cell(value);
      if (text !== "") pairs.push([name, text]);
    };
    const columns = known.columns ?? {};
    for (const name of inOrder(Object.keys(columns))) if (!TOLD.has(name)) add(name, columns[name]);
    add("flags", (known.flags ?? []).join(", "));
    add("size", known.shape ? known.shape.join(" × ") : "");
    add("pixel scale", known.pixel_scale_arcsec ? `${number(known.pixel_scale_arcsec)}″` : "");
    add("source", known.source);
    const list = h("dl", { class: "facts" });
    for (const [name, value] of pairs) list.append(h("dt", {}, name), h("dd", {}, value));
    return h("section", {}, h("h3", {}, "Columns"), list);
  }
}

const card = (hit: Hit) => ({
  row: hit.row, note: hit.similarity.toFixed(3), title: hit.quantile === null || hit.quantile === undefined ? hit.id : `${hit.id}: more similar than ${(100 * hit.quantile).toFixed(1)} % of all`,
});

const hasPlace = (row: Row): boolean => typeof row.ra === "number" && typeof row.dec === "number" && Number.isFinite(row.ra) && Number.isFinite(row.dec);

/** A value of a column as text. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return Number.isFinite(value) ? number(value) : "";
  if (Array.isArray(value)) return value.map(cell).join(", ");
  return String(value);
}
