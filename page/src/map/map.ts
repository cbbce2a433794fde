import { h, iconButton } from "../dom";
import type { Context } from "../context";
import { type Camera, HOME, clipView, kept, toMap, toScreen, zoomed } from "../maths/camera";
import { Grid, insidePolygon } from "../maths/grid";
import { stratifiedOrder } from "../maths/strata";
import { combined, modeOf } from "../state";
import { HoverCard } from "./hover";
import { Overlay } from "./overlay";
import { Renderer } from "./renderer";
import type { ShownMap } from "./shown";

export type Tool = "pan" | "lasso" | "box";

/** The map: camera, tools, hover; drawing is the renderer's and the overlay's. */
export class MapView implements ShownMap {
  readonly element: HTMLElement;
  readonly stage: HTMLElement;
  private readonly canvas = h("canvas", { class: "points" });
  private renderer: Renderer | null = null;
  private readonly overlay: Overlay;
  private readonly hover: HoverCard;
  private xyz: Float32Array = new Float32Array();
  xy: Float32Array = new Float32Array();
  grid: Grid | null = null;
  private order: Uint32Array = new Uint32Array();
  slotOf: Uint32Array = new Uint32Array();
  private shown: Uint8Array = new Uint8Array();
  private rgb: Uint8Array | null = null;
  camera: Camera = { ...HOME };
  private width = 1;
  private height = 1;
  tool: Tool = "pan";
  private path: number[] | null = null;
  private readonly pointers = new Map<number, [number, number]>();
  private drag: { x: number; y: number; moved: number } | null = null;
  private readonly orders = new Map<string, Uint32Array>();
  private readonly tools: Record<Tool, HTMLButtonElement>;
  onCamera: () => void = () => undefined;

  constructor(private readonly ctx: Context) {
    this.stage = h("div", {
      class: "stage", tabindex: 0, role: "application", "aria-label": "Map of the objects. Arrow keys move, plus and minus zoom, Enter chooses the object nearest to the centre.",
    });
    this.overlay = new Overlay(ctx, this);
    this.hover = new HoverCard(ctx);
    this.tools = {
      pan: iconButton("pan", "Move and choose (V)", () => this.setTool("pan"), { "aria-pressed": "true" }),
      lasso: iconButton("lasso", "Lasso (L): Shift adds, Alt takes away", () => this.setTool("lasso"), { "aria-pressed": "false" }),
      box: iconButton("box", "Box (B): Shift adds, Alt takes away", () => this.setTool("box"), { "aria-pressed": "false" }),
    };
    const bar = h("div", { class: "map-tools", role: "toolbar", "aria-label": "Map tools" },
      this.tools.pan, this.tools.lasso, this.tools.box, h("span", { class: "rule" }),
      iconButton("plus", "Zoom in (+)", () => this.zoomBy(1.6)), iconButton("minus", "Zoom out (−)", () => this.zoomBy(1 / 1.6)),
      iconButton("fit", "Whole map (F)", () => this.home()), h("span", { class: "rule" }),
      this.thumbsButton());
    this.stage.append(this.canvas, this.overlay.canvas, this.hover.element);
    this.element = h("div", { class: "map" }, this.stage, bar);
    try {
      this.renderer = new Renderer(this.canvas);
      this.renderer.onDraw = () => this.overlay.draw();
      this.renderer.onLost = () => ctx.notice("The graphics card gave up the map for a moment; it will be drawn again.", true);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.stage.append(h("p", { class: "no-webgl", role: "alert" }, `The map cannot be drawn: ${why} Gallery and table work as usual.`));
    }
    this.listen();
    ctx.store.on(["selection"], () => this.marks());
    ctx.store.on(["chosen", "like", "unlike", "dropped"], () => this.overlay.draw());
    ctx.store.on(["thumbs"], () => this.overlay.moved(false));
  }

  get drawable(): boolean {
    return this.renderer !== null;
  }

  get stats(): Renderer["stats"] | null {
    return this.renderer?.stats ?? null;
  }

  get size(): [number, number] {
    return [this.width, this.height];
  }

  private thumbsButton(): HTMLElement {
    const { store, source } = this.ctx;
    const button = iconButton("image", "Pictures on the map when zoomed in (P)", () => store.set({ thumbs: !store.state.thumbs }), {
      "aria-pressed": String(store.state.thumbs), hidden: !source.can.thumbs,
    });
    store.on(["thumbs"], (s) => button.setAttribute("aria-pressed", String(s.thumbs)));
    return button;
  }

  setTool(tool: Tool): void {
    this.tool = tool;
    for (const [name, button] of Object.entries(this.tools)) button.setAttribute("aria-pressed", String(name === tool));
    this.stage.dataset.tool = tool;
    this.hover.hide();
  }

  /** Show a map: (N, dims) places, of which two axes are seen. */
  setMap(name: string, xyz: Float32Array, dims: number, axes: [number, number]): void {
    this.xyz = xyz;
    const n = xyz.length / dims;
    const xy = dims === 2 && axes[0] === 0 && axes[1] === 1 ? xyz : new Float32Array(2 * n);
    if (xy !== this.xyz) {
      for (let i = 0; i < n; i++) {
        xy[2 * i] = xyz[dims * i + axes[0]];
        xy[2 * i + 1] = xyz[dims * i + axes[1]];
      }
    }
    this.xy = xy;
    this.grid = new Grid(xy, n);
    const key = `${name}/${axes.join()}`;
    const order = this.orders.get(key) ?? stratifiedOrder(xy, n);
    this.orders.set(key, order);
    this.order = order;
    this.slotOf = new Uint32Array(n).fill(0xffffffff);
    const places = new Float32Array(2 * order.length);
    for (let k = 0; k < order.length; k++) {
      this.slotOf[order[k]] = k;
      places[2 * k] = xy[2 * order[k]];
      places[2 * k + 1] = xy[2 * order[k] + 1];
    }
    this.renderer?.setPlaces(places);
    this.paint();
    this.marks();
  }

  /** Colours (N x 3) and which rows are shown (N). */
  setColours(rgb: Uint8Array, shown: Uint8Array): void {
    this.rgb = rgb;
    this.shown = shown;
    this.paint();
  }

  private paint(): void {
    const { rgb, shown, order } = this;
    if (!rgb || !this.renderer || shown.length * 2 !== this.xy.length) return;
    const out = new Uint8Array(4 * order.length);
    for (let k = 0; k < order.length; k++) {
      const row = order[k];
      out[4 * k] = rgb[3 * row];
      out[4 * k + 1] = rgb[3 * row + 1];
      out[4 * k + 2] = rgb[3 * row + 2];
      out[4 * k + 3] = shown[row] ? 255 : 0;
    }
    this.renderer.setColours(out);
    this.overlay.moved(false); // other points may show their pictures now
  }

  colourOf(row: number): string {
    return this.rgb ? `rgb(${this.rgb[3 * row]} ${this.rgb[3 * row + 1]} ${this.rgb[3 * row + 2]})` : "currentColor";
  }

  isShown = (row: number): boolean => this.shown.length === 0 || this.shown[row] === 1;

  /** Rings around neighbours or hits. */
  mark(rows: number[]): void {
    this.overlay.hits = rows;
    this.overlay.draw();
  }

  /** A star where a dropped file lies, brought into view. */
  dropped(place: [number, number] | null): void {
    this.overlay.droppedPlace = place;
    if (place) {
      const [px, py] = this.screenOfPlace(...place);
      if (px < 20 || py < 20 || px > this.width - 20 || py > this.height - 20) this.home();
    }
    this.overlay.draw();
  }

  private marks(): void {
    const { selection } = this.ctx.store.state;
    if (!this.renderer) return;
    const slots = new Uint32Array(selection.length);
    let m = 0;
    for (const row of selection) if (row < this.slotOf.length && this.slotOf[row] !== 0xffffffff && this.isShown(row)) slots[m++] = this.slotOf[row];
    this.renderer.setMarks(slots.subarray(0, m));
  }

  /** After the theme has changed: the colours of paper and ink. */
  theme(background: [number, number, number], ink: [number, number, number]): void {
    if (!this.renderer) return;
    this.renderer.background = background;
    this.renderer.markColour = ink;
    this.renderer.redraw();
  }

  resize(): void {
    const box = this.stage.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) return;
    this.width = box.width;
    this.height = box.height;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    this.overlay.resize(this.width, this.height, ratio);
    this.renderer?.resize(Math.round(this.width * ratio), Math.round(this.height * ratio));
    this.view(false);
  }

  setCamera(camera: Camera, moving = false): void {
    this.camera = kept(camera);
    this.view(moving);
  }

  private view(moving: boolean): void {
    const r = this.renderer;
    if (!r) return;
    const n = this.order.length;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const base = n < 2_000 ? 6.5 : n < 20_000 ? 4.5 : n < 200_000 ? 3 : 2;
    r.size = Math.min(11, base * Math.max(1, this.camera.zoom) ** 0.22) * ratio;
    r.alpha = Math.min(0.95, (n < 20_000 ? 0.85 : n < 200_000 ? 0.65 : 0.5) * Math.max(1, this.camera.zoom) ** 0.12);
    const view = clipView(this.camera, this.width, this.height);
    if (moving) r.move(view);
    else r.show(view);
    this.overlay.moved(moving);
    this.onCamera();
  }

  home(): void {
    this.setCamera({ ...HOME });
  }

  zoomBy(factor: number): void {
    this.setCamera(zoomed(this.camera, this.width, this.height, this.width / 2, this.height / 2, factor), true);
  }

  /** Bring an object into the middle part of the view if it is outside. */
  reveal(row: number): void {
    const [px, py] = this.screenOf(row);
    if (Number.isNaN(px)) return;
    if (px < 20 || py < 20 || px > this.width - 20 || py > this.height - 20) this.setCamera({ ...this.camera, x: this.xy[2 * row], y: this.xy[2 * row + 1] });
  }

  screenOf(row: number): [number, number] {
    return toScreen(this.camera, this.width, this.height, this.xy[2 * row], this.xy[2 * row + 1]);
  }

  screenOfPlace(x: number, y: number): [number, number] {
    return toScreen(this.camera, this.width, this.height, x, y);
  }

  /** The shown row nearest to a place on the screen within `reach` px, or -1. */
  at(px: number, py: number, reach = 12): number {
    if (!this.grid) return -1;
    const [x, y] = toMap(this.camera, this.width, this.height, px, py);
    const [x1] = toMap(this.camera, this.width, this.height, px + reach, py);
    return this.grid.nearest(x, y, x1 - x, x1 - x, this.isShown);
  }

  /** The shown row nearest to the centre, for the keyboard. */
  private under(): number {
    for (const reach of [60, 200, 600]) {
      const row = this.at(this.width / 2, this.height / 2, reach);
      if (row >= 0) return row;
    }
    return -1;
  }

  private listen(): void {
    const { stage } = this;
    stage.addEventListener("pointerdown", (e) => this.down(e));
    stage.addEventListener("pointermove", (e) => this.movePointer(e));
    stage.addEventListener("pointerup", (e) => this.up(e));
    stage.addEventListener("pointercancel", (e) => this.cancel(e));
    stage.addEventListener("pointerleave", () => this.hover.hide());
    stage.addEventListener("dblclick", (e) => {
      const [px, py] = this.local(e);
      this.setCamera(zoomed(this.camera, this.width, this.height, px, py, 2), true);
    });
    stage.addEventListener("wheel", (e) => {
      e.preventDefault();
      this.hover.hide();
      const [px, py] = this.local(e);
      const lines = e.deltaMode === 1 ? 16 : 1;
      this.setCamera(zoomed(this.camera, this.width, this.height, px, py, Math.exp(-e.deltaY * lines * (e.ctrlKey ? 0.01 : 0.0016))), true);
    }, { passive: false });
    stage.addEventListener("keydown", (e) => this.key(e));
    stage.addEventListener("blur", () => this.hover.hide());
  }

  private local(event: MouseEvent): [number, number] {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  private down(event: PointerEvent): void {
    if (event.button > 0) return;
    this.stage.setPointerCapture(event.pointerId);
    const [px, py] = this.local(event);
    this.pointers.set(event.pointerId, [px, py]);
    this.drag = { x: px, y: py, moved: 0 };
    this.path = this.tool === "pan" || this.pointers.size > 1 ? null : [px, py];
  }

  private movePointer(event: PointerEvent): void {
    const [px, py] = this.local(event);
    const before = this.pointers.get(event.pointerId);
    if (!before || !this.drag) {
      if (event.pointerType !== "touch" && this.tool === "pan") this.hover.show(this.at(px, py), px, py, this);
      return;
    }
    this.drag.moved += Math.abs(px - before[0]) + Math.abs(py - before[1]);
    if (this.pointers.size === 2) this.pinch(event.pointerId, px, py);
    else if (this.path) this.extend(px, py);
    else if (this.drag.moved > 3) this.panBy(px - before[0], py - before[1]);
    this.pointers.set(event.pointerId, [px, py]);
  }

  private pinch(id: number, px: number, py: number): void {
    this.path = null;
    const other = [...this.pointers].find(([key]) => key !== id)?.[1];
    const before = this.pointers.get(id);
    if (!other || !before) return;
    const length = (a: number, b: number) => Math.max(8, Math.hypot(a - other[0], b - other[1]));
    const factor = length(px, py) / length(before[0], before[1]);
    this.setCamera(zoomed(this.camera, this.width, this.height, (px + other[0]) / 2, (py + other[1]) / 2, factor), true);
    this.panBy((px - before[0]) / 2, (py - before[1]) / 2);
  }

  private panBy(dx: number, dy: number): void {
    this.hover.hide();
    const [x, y] = toMap(this.camera, this.width, this.height, this.width / 2 - dx, this.height / 2 - dy);
    this.setCamera({ ...this.camera, x, y }, true);
  }

  private extend(px: number, py: number): void {
    if (!this.path) return;
    if (this.tool === "box") this.path = [this.path[0], this.path[1], px, this.path[1], px, py, this.path[0], py];
    else if (Math.hypot(px - this.path[this.path.length - 2], py - this.path[this.path.length - 1]) > 2) this.path.push(px, py);
    this.overlay.path = this.path;
    this.overlay.draw();
  }

  private up(event: PointerEvent): void {
    const [px, py] = this.local(event);
    this.pointers.delete(event.pointerId);
    const { drag, path } = this;
    this.path = this.overlay.path = null;
    if (!drag || this.pointers.size) return;
    this.drag = null;
    if (path && path.length >= 6 && drag.moved > 6) this.select(path, event);
    else if (drag.moved <= 4) this.click(this.at(px, py, event.pointerType === "touch" ? 22 : 12), event);
    this.overlay.draw();
  }

  private cancel(event: PointerEvent): void {
    this.pointers.delete(event.pointerId);
    this.path = this.overlay.path = this.drag = null;
    this.overlay.draw();
  }

  private click(row: number, event: PointerEvent): void {
    const { store } = this.ctx;
    if (row < 0) return;
    if (event.shiftKey || event.altKey || event.ctrlKey || event.metaKey) {
      store.set({ selection: combined(store.state.selection, [row], modeOf(event)) });
    } else this.ctx.choose(row, true);
  }

  private select(path: number[], event: PointerEvent): void {
    const { store } = this.ctx;
    const polygon: number[] = [];
    for (let k = 0; k < path.length; k += 2) polygon.push(...toMap(this.camera, this.width, this.height, path[k], path[k + 1]));
    const rows = insidePolygon(this.xy, this.xy.length / 2, polygon).filter(this.isShown);
    store.set({ selection: combined(store.state.selection, rows, modeOf(event)), panel: "selection" });
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 160 : 48;
    const moves: Record<string, [number, number]> = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.key in moves) this.panBy(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.6);
    else if (event.key === "-") this.zoomBy(1 / 1.6);
    else if (event.key === "Home") this.home();
    else if (event.key === "Enter" || event.key === " ") {
      const row = this.under();
      if (row >= 0) this.ctx.choose(row, true);
    } else return;
    event.preventDefault();
    event.stopPropagation();
    const under = this.under();
    this.hover.show(under, this.width / 2, this.height / 2, this);
    if (under >= 0) void this.ctx.rows.get(under).then((known) => this.ctx.say([known.id, HoverCard.describe(under)].filter(Boolean).join(", ")));
  }
}
