import { paintThumb } from "./cache";
import { colourChoices } from "./colouring";
import type { Context } from "./context";
import { choice, fill, h, iconButton, plural, setOptions } from "./dom";
import { contentTop, scrollFor, scrollHeight, sortedBy, tiles } from "./maths/scroll";
import { combined, modeOf } from "./state";
import { pickSwitch, scopeChooser, scopeRows } from "./scope";

const GAP = 4;
const SLOW = 300; // px a second: below, what is seen comes first
const LATENCY = 0.35; // seconds until a sprite comes

/** All pictures in a grid of which only what is near the window exists. */
export class Gallery {
  readonly element = h("section", { class: "gallery-view", hidden: true });
  private readonly scroller = h("div", { class: "scroller", tabindex: 0, role: "listbox", "aria-label": "Pictures", "aria-multiselectable": "true" });
  private readonly space = h("div", { class: "scroll-space" });
  private readonly order: HTMLSelectElement;
  private readonly total = h("span", { class: "quiet" });
  private rows: Uint32Array | null = null;
  private px = 84;
  private sort = "";
  private version = 0;
  private descending = true;
  private readonly made = new Map<number, HTMLElement>();
  private anchor = -1;
  private cursor = 0;
  private frame = 0;
  private last = { top: 0, time: 0 };
  private speed = 0;
  private rest = 0;
  private selected = new Set<number>();
  private readonly flip: HTMLButtonElement;

  constructor(private readonly ctx: Context) {
    const orderField = choice("Order", [], "", (v) => {
      this.sort = v;
      void this.list();
    });
    this.order = orderField.querySelector("select")!;
    this.flip = iconButton("down", "Largest first", () => {
      this.descending = !this.descending;
      fill(this.flip, iconButtonIcon(this.descending));
      this.flip.title = this.descending ? "Largest first" : "Smallest first";
      this.flip.setAttribute("aria-label", this.flip.title);
      void this.list();
    });
    const size = h("input", { type: "range", min: 48, max: 192, step: 4, value: String(this.px), "aria-label": "Size of the pictures", oninput: () => {
      this.px = Number(size.value);
      this.reset();
    } });
    this.element.append(h("div", { class: "view-tools" }, scopeChooser(ctx), orderField, this.flip, h("label", { class: "field" }, h("span", {}, "Size"), size), pickSwitch(ctx), this.total), this.scroller);
    this.scroller.append(this.space);
    this.scroller.addEventListener("scroll", () => this.schedule());
    this.scroller.addEventListener("keydown", (e) => this.key(e));
    this.scroller.addEventListener("click", (e) => this.click(e));
    ctx.thumbs.onLoad(() => this.paint());
    ctx.store.on(["scope", "filter", "view"], () => void this.list());
    ctx.store.on(["selection"], (s) => {
      this.selected = new Set(s.selection);
      if (s.scope === "selection") void this.list();
      else this.mark();
    });
    ctx.store.on(["chosen"], () => this.mark());
    this.selected = new Set(ctx.store.state.selection);
    new ResizeObserver(() => this.reset()).observe(this.scroller);
  }

  private get n(): number {
    return this.rows ? this.rows.length : this.ctx.space.n;
  }

  private rowAt(position: number): number {
    return this.rows ? this.rows[position] : position;
  }

  private get hiddenNow(): boolean {
    return this.ctx.store.state.view !== "gallery";
  }

  /** From the beginning, if it is seen. */
  async list(): Promise<void> {
    if (this.hiddenNow) return;
    const version = ++this.version;
    const { ctx, sort } = this;
    setOptions(this.order, [{ value: "", text: "of the store" }, ...colourChoices(ctx.space).slice(1)], sort);
    this.flip.hidden = !sort;
    let rows = scopeRows(ctx.store.state);
    if (sort) {
      this.scroller.setAttribute("aria-busy", "true");
      await ctx.attempt(async () => {
        const column = await ctx.column(sort);
        rows = sortedBy(column.values, rows ?? Uint32Array.from({ length: ctx.space.n }, (_, i) => i), this.descending);
      });
      if (version !== this.version) return; // asked for otherwise meanwhile
    }
    this.scroller.removeAttribute("aria-busy");
    this.rows = rows;
    this.total.textContent = plural(this.n, "object");
    this.scroller.scrollTop = 0;
    this.cursor = 0;
    this.reset();
  }

  private reset(): void {
    for (const element of this.made.values()) element.remove();
    this.made.clear();
    this.schedule();
  }

  private schedule(): void {
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.draw();
      });
    }
  }

  private layout(): { columns: number; step: number; total: number; height: number; top: number } {
    const width = this.scroller.clientWidth - 2 * GAP;
    const height = this.scroller.clientHeight;
    const { columns, lines, step } = tiles(width, this.px, GAP, this.n);
    const total = lines * (this.px + GAP) + GAP;
    return { columns, step, total, height, top: contentTop(this.scroller.scrollTop, height, total) };
  }

  private draw(): void {
    if (this.hiddenNow || this.scroller.clientHeight === 0) return;
    const { columns, step, total, height, top } = this.layout();
    const line = this.px + GAP;
    this.space.style.height = `${scrollHeight(total)}px`;
    const speed = this.measure(top);
    const ahead = speed > 0 ? 4 : speed < 0 ? 1 : 2;
    const behind = speed > 0 ? 1 : speed < 0 ? 4 : 2;
    const first = Math.max(0, Math.floor((top - behind * height) / line)) * columns;
    const last = Math.min(this.n, Math.ceil((top + (1 + ahead) * height) / line) * columns);
    for (const [position, element] of this.made) {
      if (position >= first && position < last) continue;
      element.remove();
      this.made.delete(position);
    }
    const shift = this.scroller.scrollTop - top;
    for (let position = first; position < last; position++) {
      const element = this.made.get(position) ?? this.make(position);
      element.style.transform = `translate(${GAP + (position % columns) * step}px, ${GAP + Math.floor(position / columns) * line + shift}px)`;
    }
    this.ctx.thumbs.drop();
    const there = top + height / 2 + Math.max(-3 * height, Math.min(3 * height, speed * LATENCY)); // where the eye will be
    const distance = (position: number) => Math.abs(Math.floor(position / columns) * line - there);
    this.paint([...this.made.keys()].sort((a, b) => distance(a) - distance(b)));
    this.mark();
  }

  private make(position: number): HTMLElement {
    const element = h("div", { class: "tile thumb waiting", role: "option", "data-position": position, id: `tile-${position}` });
    element.style.width = element.style.height = `${this.px}px`;
    this.made.set(position, element);
    this.space.append(element);
    return element;
  }

  /** Pixels per second at which the content moves; 0 at rest. */
  private measure(top: number): number {
    const now = performance.now();
    const elapsed = (now - this.last.time) / 1000;
    const speed = elapsed > 0.25 || elapsed <= 0 ? 0 : (top - this.last.top) / elapsed;
    this.speed = elapsed > 0.25 ? 0 : 0.6 * this.speed + 0.4 * speed;
    this.last = { top, time: now };
    window.clearTimeout(this.rest);
    if (Math.abs(this.speed) > SLOW) this.rest = window.setTimeout(() => this.schedule(), 300);
    return Math.abs(this.speed) > SLOW ? this.speed : 0;
  }

  /** Fill the tiles; what is not there is asked for in this order. */
  private paint(order: Iterable<number> = this.made.keys()): void {
    if (this.hiddenNow) return;
    for (const position of order) {
      const element = this.made.get(position);
      if (element) paintThumb(element, this.ctx.thumbs.get(this.rowAt(position)), this.px);
    }
  }

  private mark(): void {
    if (this.hiddenNow) return;
    const { chosen } = this.ctx.store.state;
    for (const [position, element] of this.made) {
      const row = this.rowAt(position);
      element.setAttribute("aria-selected", String(this.selected.has(row)));
      element.classList.toggle("chosen", row === chosen);
      const known = this.ctx.rows.peek(row);
      element.setAttribute("aria-label", known ? known.id : `object ${row + 1}`);
      element.setAttribute("aria-posinset", String(position + 1));
      element.setAttribute("aria-setsize", String(this.n));
      element.classList.toggle("cursor", position === this.cursor);
    }
    if (this.made.has(this.cursor)) this.scroller.setAttribute("aria-activedescendant", `tile-${this.cursor}`);
  }

  private click(event: MouseEvent): void {
    const tile = (event.target as HTMLElement).closest<HTMLElement>("[data-position]");
    if (tile) this.take(Number(tile.dataset.position), event);
  }

  private take(position: number, event: MouseEvent | KeyboardEvent): void {
    const { store } = this.ctx;
    this.cursor = position;
    if (event.shiftKey && this.anchor >= 0) {
      const [a, b] = [Math.min(this.anchor, position), Math.max(this.anchor, position)];
      const rows = Array.from({ length: b - a + 1 }, (_, i) => this.rowAt(a + i));
      store.set({ selection: combined(store.state.selection, rows, "add") });
    } else if (store.state.picking || event.ctrlKey || event.metaKey || event.altKey || (event instanceof KeyboardEvent && event.key === " ")) {
      const row = this.rowAt(position);
      store.set({ selection: combined(store.state.selection, [row], modeOf(event) === "subtract" || this.selected.has(row) ? "subtract" : "add") });
      this.anchor = position;
    } else {
      this.anchor = position;
      this.ctx.choose(this.rowAt(position), true);
    }
    this.mark();
  }

  private key(event: KeyboardEvent): void {
    const { columns, height } = this.layout();
    const page = Math.max(1, Math.floor(height / (this.px + GAP))) * columns;
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -page, PageDown: page, Home: -this.n, End: this.n };
    if (event.key in steps) {
      this.cursor = Math.max(0, Math.min(this.n - 1, this.cursor + steps[event.key]));
      this.bring();
    } else if (event.key === "Enter" || event.key === " ") this.take(this.cursor, event);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private bring(): void {
    const { columns, height, total, top } = this.layout();
    const at = Math.floor(this.cursor / columns) * (this.px + GAP);
    let wanted = top;
    if (at < top) wanted = at;
    else if (at + this.px + 2 * GAP > top + height) wanted = at + this.px + 2 * GAP - height;
    if (wanted !== top) this.scroller.scrollTop = scrollFor(wanted, height, total);
    this.schedule();
    const row = this.rowAt(this.cursor);
    void this.ctx.rows.get(row).then((known) => this.ctx.say(known.id));
  }
}

const iconButtonIcon = (descending: boolean): SVGElement => iconButton(descending ? "down" : "up", "", () => undefined).querySelector("svg")!;
