import { inOrder } from "./colouring";
import type { Context } from "./context";
import { fill, h, plural } from "./dom";
import { contentTop, scrollHeight } from "./maths/scroll";
import { cell } from "./panels/object";
import { combined } from "./state";
import { pickSwitch, scopeChooser, scopeRows } from "./scope";
import type { Row } from "./types";

const LINE = 26;
const PAGE = 100;

/** The columns of the objects, sorted by the server, fetched page by page while scrolling. */
export class Table {
  readonly element = h("section", { class: "table-view", hidden: true });
  private readonly scroller = h("div", { class: "scroller", tabindex: 0, role: "grid", "aria-label": "Table of the objects", "aria-multiselectable": "true" });
  private readonly head = h("div", { class: "line head", role: "row" });
  private readonly body = h("div", { class: "scroll-space", role: "rowgroup" });
  private readonly total = h("span", { class: "quiet" });
  private readonly pages = new Map<number, Row[] | Promise<void>>();
  private n = 0;
  private sort: string | null = null;
  private descending = false;
  private version = 0;
  private cursor = 0;
  private anchor = -1;
  private frame = 0;
  private selected = new Set<number>();

  constructor(private readonly ctx: Context) {
    this.element.append(h("div", { class: "view-tools" }, scopeChooser(ctx), pickSwitch(ctx), this.total,
      h("span", { class: "quiet hint" }, "Click a heading to sort; Ctrl-click or Space selects, Shift-click a range.")), this.scroller);
    this.scroller.append(this.head, this.body);
    this.scroller.style.setProperty("--columns", String(this.columns.length));
    this.scroller.addEventListener("scroll", () => this.schedule());
    this.scroller.addEventListener("keydown", (e) => this.key(e));
    this.body.addEventListener("click", (e) => this.click(e));
    ctx.store.on(["scope", "filter", "view"], () => this.restart());
    ctx.store.on(["selection"], (s) => {
      this.selected = new Set(s.selection);
      if (s.scope === "selection") this.restart();
      else this.schedule();
    });
    ctx.store.on(["chosen"], () => this.schedule());
    this.selected = new Set(ctx.store.state.selection);
    new ResizeObserver(() => this.schedule()).observe(this.scroller);
  }

  private get columns(): string[] {
    return ["id", ...inOrder(this.ctx.space.columns.map((c) => c.name).filter((name) => name !== "id" && !name.startsWith("@")))];
  }

  private get hiddenNow(): boolean {
    return this.ctx.store.state.view !== "table";
  }

  /** From the beginning, if it is seen. */
  restart(): void {
    if (this.hiddenNow) return;
    this.version++;
    this.pages.clear();
    this.cursor = 0;
    this.scroller.scrollTop = 0;
    const scope = scopeRows(this.ctx.store.state);
    this.n = scope ? scope.length : this.ctx.space.n;
    this.heading();
    this.schedule();
  }

  private heading(): void {
    const numeric = new Set(this.ctx.space.columns.filter((c) => c.kind === "number").map((c) => c.name));
    fill(this.head, ...this.columns.map((name) => {
      const sorted = this.sort === name ? (this.descending ? "descending" : "ascending") : "none";
      return h("div", { role: "columnheader", class: numeric.has(name) ? "cell numeric" : name === "id" ? "cell wide" : "cell", "aria-sort": sorted },
        h("button", { type: "button", tabindex: -1, onclick: () => this.sortBy(name) }, name, sorted === "none" ? "" : this.descending ? " ↓" : " ↑"));
    }));
  }

  private sortBy(name: string): void {
    if (this.sort !== name) [this.sort, this.descending] = [name, false];
    else if (!this.descending) this.descending = true;
    else [this.sort, this.descending] = [null, false];
    this.restart();
  }

  private schedule(): void {
    if (this.hiddenNow || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private draw(): void {
    const height = this.scroller.clientHeight - LINE;
    if (height <= 0) return;
    const total = this.n * LINE;
    const top = contentTop(this.scroller.scrollTop, height, total);
    const shift = this.scroller.scrollTop - top;
    this.body.style.height = `${scrollHeight(total)}px`;
    this.scroller.setAttribute("aria-rowcount", String(this.n + 1));
    this.total.textContent = plural(this.n, "object");
    const first = Math.max(0, Math.floor(top / LINE) - 10);
    const last = Math.min(this.n, Math.ceil((top + height) / LINE) + 10);
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page++) void this.ask(page);
    const numeric = new Set(this.ctx.space.columns.filter((c) => c.kind === "number").map((c) => c.name));
    const lines: HTMLElement[] = [];
    for (let k = first; k < last; k++) lines.push(this.line(k, k * LINE + shift, numeric));
    fill(this.body, ...lines);
    if (this.n === 0) this.body.append(h("p", { class: "empty" }, this.ctx.store.state.scope === "selection" ? "Nothing is selected." : "No object matches."));
  }

  private at(k: number): Row | null {
    const page = this.pages.get(Math.floor(k / PAGE));
    return Array.isArray(page) ? (page[k % PAGE] ?? null) : null;
  }

  /** The object in a line; null while only the server knows, as the lines are sorted. */
  private objectAt(k: number): number | null {
    if (this.sort) return this.at(k)?.row ?? null;
    const scope = scopeRows(this.ctx.store.state);
    return scope ? (scope[k] ?? null) : k;
  }

  /** The objects in lines that may not have come yet; null where the list has changed meanwhile. */
  private async objects(from: number, to: number): Promise<number[] | null> {
    const { version } = this;
    const objects: number[] = [];
    for (let k = from; k <= to; k++) {
      if (this.objectAt(k) === null) await this.ask(Math.floor(k / PAGE));
      const object = this.objectAt(k);
      if (object === null || version !== this.version) return null;
      objects.push(object);
    }
    return objects;
  }

  private line(k: number, top: number, numeric: Set<string>): HTMLElement {
    const row = this.at(k);
    const object = this.objectAt(k);
    const chosen = object !== null && object === this.ctx.store.state.chosen;
    return h("div", {
      role: "row", class: `line${chosen ? " chosen" : ""}${k === this.cursor ? " cursor" : ""}`, "data-position": k, "aria-rowindex": k + 2, "aria-selected": String(object !== null && this.selected.has(object)),
      style: { transform: `translateY(${top}px)` },
    }, ...this.columns.map((name) => h("div", { role: "gridcell", class: numeric.has(name) ? "cell numeric" : name === "id" ? "cell wide id" : "cell" },
      row ? (name === "id" ? row.id : cell(valueIn(row, name))) : "")));
  }

  private ask(page: number): Promise<void> {
    const known = this.pages.get(page);
    if (known) return Array.isArray(known) ? Promise.resolve() : known;
    const asked = this.fetch(page).then(() => {
      if (this.pages.get(page) === asked) this.pages.delete(page); // it failed, and may be asked for again
    });
    this.pages.set(page, asked);
    return asked;
  }

  private async fetch(page: number): Promise<void> {
    const { version, ctx } = this;
    const scope = scopeRows(ctx.store.state);
    const whole = ctx.store.state.scope === "filter" ? ctx.store.state.where : null;
    await ctx.attempt(async () => {
      const answer = await ctx.source.table({
        rows: scope && !whole ? Array.from(scope) : null, where: whole, sort: this.sort, descending: this.descending, offset: page * PAGE, limit: PAGE, columns: this.columns.slice(1),
      });
      if (version !== this.version) return;
      this.pages.set(page, answer.rows);
      this.n = answer.total;
      if (this.pages.size > 60) {
        const oldest = this.pages.keys().next().value;
        if (oldest !== undefined && oldest !== page) this.pages.delete(oldest);
      }
      this.schedule();
    });
  }

  private click(event: MouseEvent): void {
    const line = (event.target as HTMLElement).closest<HTMLElement>("[data-position]");
    if (line) void this.take(Number(line.dataset.position), event);
  }

  private async take(k: number, event: MouseEvent | KeyboardEvent): Promise<void> {
    const { store } = this.ctx;
    this.cursor = k;
    this.schedule();
    const range = event.shiftKey && this.anchor >= 0;
    const objects = await this.objects(range ? Math.min(k, this.anchor) : k, range ? Math.max(k, this.anchor) : k);
    if (!objects) return;
    if (range) {
      store.set({ selection: combined(store.state.selection, objects, "add") });
    } else if (store.state.picking || event.ctrlKey || event.metaKey || event.altKey || (event instanceof KeyboardEvent && event.key === " ")) {
      store.set({ selection: combined(store.state.selection, objects, this.selected.has(objects[0]) || event.altKey ? "subtract" : "add") });
      this.anchor = k;
    } else {
      this.anchor = k;
      this.ctx.choose(objects[0], true);
    }
    this.schedule();
  }

  private key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / LINE) - 2);
    const steps: Record<string, number> = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -this.n, End: this.n };
    if (event.key in steps) {
      this.cursor = Math.max(0, Math.min(this.n - 1, this.cursor + steps[event.key]));
      const height = this.scroller.clientHeight - LINE;
      const top = this.scroller.scrollTop;
      if (this.n * LINE === scrollHeight(this.n * LINE)) {
        if (this.cursor * LINE < top) this.scroller.scrollTop = this.cursor * LINE;
        else if ((this.cursor + 1) * LINE > top + height) this.scroller.scrollTop = (this.cursor + 1) * LINE - height;
      }
      this.schedule();
    } else if (event.key === "Enter" || event.key === " ") void this.take(this.cursor, event);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function valueIn(row: Row, name: string): unknown {
  const columns = row.columns ?? {};
  return name in columns ? columns[name] : (row as unknown as Record<string, unknown>)[name];
}
