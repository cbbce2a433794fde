import { Rows, Thumbs } from "./cache";
import { type Painted, colourChoices, nameOfColour, paintRows, shownRows, valueOf } from "./colouring";
import type { Context } from "./context";
import { DropZone } from "./drop";
import { debounce, number } from "./dom";
import { Frame } from "./frame";
import { Gallery } from "./gallery";
import { type Saved, pack, unpack } from "./hash";
import { Keys } from "./keys";
import { HoverCard } from "./map/hover";
import { Legend } from "./map/legend";
import { MapView } from "./map/map";
import { HOME } from "./maths/camera";
import { PICTURE } from "./maths/stretch";
import { Notices } from "./notice";
import { ClustersPanel } from "./panels/clusters";
import { LabelPanel } from "./panels/label";
import { ObjectPanel } from "./panels/object";
import { OddPanel } from "./panels/odd";
import { QueryPanel } from "./panels/query";
import { SelectionPanel } from "./panels/selection";
import { type State, Store } from "./state";
import { Table } from "./table";
import type { Column, Source, Space } from "./types";

export interface Options {
  /** Write the view into the address. */
  address: boolean;
  colour?: string;
}

/** The page: wires the parts; each part knows the context only. */
export class App {
  readonly ctx: Context;
  readonly store: Store;
  readonly map: MapView;
  private readonly frame: Frame;
  private readonly legend: Legend;
  private readonly notices = new Notices();
  private readonly columns = new Map<string, Promise<Column>>();
  private readonly object: ObjectPanel;
  private column: Column | null = null;
  private painted: Painted = { rgb: new Uint8Array(), limits: null, counts: [] };
  private readonly opened: () => void;
  private readonly maps = new Map<string, Float32Array>();

  constructor(root: HTMLElement, private readonly source: Source, space: Space, private readonly options: Options) {
    const saved = options.address ? unpack(window.location.hash, space.n) : {};
    this.store = new Store(startState(space, saved, options));
    const thumbs = new Thumbs(source);
    const rows = new Rows(source);
    this.ctx = {
      root, source, store: this.store, space, thumbs, rows,
      column: (name) => this.fetchColumn(name),
      stale: (name) => {
        this.columns.delete(name);
        if (this.store.state.colour === name) void this.colour();
      },
      notice: (sentence, bad = false) => this.notices.show(sentence, bad),
      say: (sentence) => this.notices.say(sentence),
      attempt: async (act) => {
        try {
          await act();
        } catch (error) {
          this.notices.show(error instanceof Error ? error.message : String(error), true);
        }
      },
      refresh: () => this.refresh(),
      choose: (row, open = false) => this.choose(row, open),
    };
    thumbs.failed = rows.failed = (sentence) => this.notices.show(sentence, true);
    const { ctx } = this;
    this.map = new MapView(ctx);
    this.legend = new Legend(ctx);
    this.object = new ObjectPanel(ctx);
    const query = new QueryPanel(ctx);
    const table = new Table(ctx);
    const gallery = new Gallery(ctx);
    const label = new LabelPanel(ctx);
    this.map.element.append(this.legend.element);
    this.frame = new Frame(ctx, this.notices, { map: this.map.element, gallery: gallery.element, table: table.element }, {
      object: this.object.element, selection: new SelectionPanel(ctx).element, query: query.element,
      clusters: new ClustersPanel(ctx).element, odd: new OddPanel(ctx).element, label: label.element,
    });
    new Keys(ctx, this.map, this.frame, label);
    if (source.can.drop) new DropZone(ctx, this.map, this.object);
    this.object.onHits = query.onHits = (hits) => this.map.mark(hits.map((hit) => hit.row));
    HoverCard.describe = (row) => {
      const value = valueOf(this.column, row, number);
      return value === "" ? "" : `${nameOfColour(this.store.state.colour)}: ${value}`;
    };
    this.opened = () => {
      table.restart();
      void gallery.list();
    };
    this.watch();
  }

  private watch(): void {
    const { store } = this;
    store.on(["map", "axes"], () => void this.showMap());
    store.on(["colour"], () => {
      if (store.state.off.size) store.set({ off: new Set() });
      void this.colour();
    });
    store.on(["ramp", "reversed"], () => this.repaint());
    store.on(["off", "filter"], () => this.reshow());
    store.on(["chosen"], (s) => {
      if (s.chosen >= 0) this.map.reveal(s.chosen);
    });
    store.on(["where"], () => void this.applyWhere());
    const write = debounce(250, () => {
      if (!this.options.address) return;
      const hash = pack(store.state, this.map.camera);
      window.history.replaceState(null, "", hash ? `#${hash}` : window.location.pathname + window.location.search);
    });
    store.on(["view", "panel", "map", "axes", "colour", "ramp", "reversed", "off", "where", "chosen", "selection", "like", "unlike", "picture"], write);
    this.map.onCamera = write;
    if (this.options.address) window.addEventListener("hashchange", () => this.restore(unpack(window.location.hash, this.ctx.space.n)));
    this.frame.onTheme = () => {
      const [paper, ink] = this.frame.mapColours();
      this.map.theme(paper, ink);
      this.repaint();
    };
    new ResizeObserver(() => this.map.resize()).observe(this.map.stage);
  }

  /** First drawing. */
  async start(): Promise<void> {
    const saved = this.options.address ? unpack(window.location.hash, this.ctx.space.n) : {};
    this.frame.onTheme();
    this.map.resize();
    if (saved.camera) this.map.setCamera(saved.camera);
    const { state } = this.store;
    await Promise.all([state.map ? this.showMap() : Promise.resolve(), this.colour(), state.where ? this.applyWhere() : Promise.resolve()]);
    this.opened();
    for (const note of this.ctx.space.notes ?? []) this.notices.show(note, false);
    if (state.chosen >= 0 && state.panel === "object") void this.object.show(state.chosen);
    this.ctx.root.dataset.ready = "true";
  }

  private restore(saved: Saved): void {
    const now = startState(this.ctx.space, saved, this.options);
    this.store.set({ ...now, filter: this.store.state.filter, sheet: this.store.state.sheet, thumbs: this.store.state.thumbs, picking: this.store.state.picking, scope: this.store.state.scope });
    this.map.setCamera(saved.camera ?? { ...HOME });
  }

  private async showMap(): Promise<void> {
    const { map, axes } = this.store.state;
    const info = this.ctx.space.maps.find((m) => m.name === map);
    if (!info) return;
    await this.ctx.attempt(async () => {
      const places = this.maps.get(map) ?? (await this.source.map(map, info.dims));
      this.maps.set(map, places);
      if (this.store.state.map !== map) return;
      this.map.setMap(map, places, info.dims, axes[0] < info.dims && axes[1] < info.dims ? axes : [0, 1]);
      this.ctx.say(`Map ${map} shown.`);
    });
  }

  private fetchColumn(name: string): Promise<Column> {
    const known = this.columns.get(name);
    if (known) return known;
    const asked = this.source.column(name, this.ctx.space);
    this.columns.set(name, asked);
    asked.catch(() => this.columns.delete(name));
    return asked;
  }

  private async colour(): Promise<void> {
    const { colour } = this.store.state;
    await this.ctx.attempt(async () => {
      let column: Column | null = null;
      try {
        if (colour) column = await this.fetchColumn(colour);
      } finally {
        if (this.store.state.colour === colour) {
          this.column = column;
          this.repaint();
        }
      }
    });
  }

  private repaint(): void {
    const { ramp, reversed } = this.store.state;
    this.painted = paintRows(this.column, this.ctx.space.n, ramp, reversed, this.frame.dark);
    this.legend.show(this.column, this.painted);
    this.reshow();
  }

  private reshow(): void {
    const { filter, off } = this.store.state;
    this.legend.show(this.column, this.painted);
    this.map.setColours(this.painted.rgb, shownRows(this.ctx.space.n, filter, this.column, off));
  }

  private async applyWhere(): Promise<void> {
    const { where } = this.store.state;
    await this.frame.filtering(async () => {
      const filter = where ? await this.source.where(where) : null;
      if (this.store.state.where !== where) return;
      this.store.set({ filter, scope: filter ? "filter" : this.store.state.scope === "filter" ? "all" : this.store.state.scope });
    });
  }

  private async refresh(): Promise<void> {
    await this.ctx.attempt(async () => {
      Object.assign(this.ctx.space, await this.source.space());
      this.frame.refresh();
    });
  }

  private choose(row: number, open: boolean): void {
    this.map.dropped(null);
    this.store.set({ chosen: row, dropped: null, ...(open ? { panel: this.store.state.panel === "label" ? "label" : "object", sheet: true } : {}) });
  }
}

function startState(space: Space, saved: Saved, options: Options): State {
  const known = new Set(colourChoices(space).map((c) => c.value));
  const map = space.maps.find((m) => m.name === saved.map) ?? space.maps.find((m) => m.name === "tsne") ?? space.maps.find((m) => m.name === "umap") ?? space.maps[0];
  const first = options.colour ?? space.color ?? (space.clusters[0] ? `@cluster:${space.clusters[0].name}` : known.has("novelty") ? "novelty" : "");
  const colour = saved.colour !== undefined && known.has(saved.colour) ? saved.colour : known.has(first) ? first : "";
  return {
    view: saved.view ?? "map", panel: saved.panel ?? "object", sheet: false, map: map?.name ?? "", axes: saved.axes ?? [0, 1],
    colour, ramp: saved.ramp ?? "viridis", reversed: saved.reversed ?? false, off: new Set(saved.off ?? []), where: saved.where ?? "", filter: null,
    chosen: saved.chosen ?? -1, dropped: null, selection: Uint32Array.from(saved.selection ?? []), like: saved.like ?? [], unlike: saved.unlike ?? [],
    scope: "all", thumbs: true, picking: false, picture: saved.picture ?? { ...PICTURE },
  };
}
