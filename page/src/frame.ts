import { colourChoices } from "./colouring";
import type { Context } from "./context";
import { choice, fill, h, icon, iconButton, plural, setOptions, short, whole } from "./dom";
import type { Notices } from "./notice";
import type { MainView, PanelName } from "./state";

const PANELS: Record<PanelName, string> = { object: "Object", selection: "Selection", query: "Query", clusters: "Clusters", odd: "Odd ones", label: "Label" };
const VIEWS: Record<MainView, [string, string]> = { map: ["Map", "map"], gallery: ["Gallery", "grid"], table: ["Table", "table"] };

/** Header, tabs, status line, theme: what stands around the parts. */
export class Frame {
  private readonly header = h("header", { class: "top" });
  private readonly main: HTMLElement;
  private readonly side: HTMLElement;
  private readonly status = h("div", { class: "status-text" });
  private readonly tabs = new Map<string, HTMLButtonElement>();
  private readonly colourSelect: HTMLSelectElement;
  private readonly mapSelect: HTMLSelectElement;
  private readonly axes = h("span", { class: "axes" });
  readonly filter: HTMLInputElement;
  private readonly filterNote = h("span", { class: "filter-note", id: "filter-note" });
  onTheme: () => void = () => undefined;
  openHelp: () => void = () => undefined;
  dark = false;

  constructor(
    private readonly ctx: Context,
    notices: Notices,
    private readonly views: Record<MainView, HTMLElement>,
    private readonly panels: Record<PanelName, HTMLElement>,
  ) {
    const { store, source, root } = ctx;
    this.filter = h("input", { type: "text", class: "where", spellcheck: "false", autocomplete: "off", placeholder: "filter: snr > 10 and flags == 0", "aria-label": "Filter, as --where on the command line", "aria-describedby": "filter-note", value: store.state.where,
      onkeydown: (e: KeyboardEvent) => {
        if (e.key === "Enter") store.set({ where: this.filter.value.trim() });
        if (e.key === "Escape") this.clearFilter();
      },
      onchange: () => store.set({ where: this.filter.value.trim() }) });
    const mapField = choice("Map", [], "", (v) => store.set({ map: v, axes: [0, 1] }));
    const colourField = choice("Colour", [], "", (v) => store.set({ colour: v }));
    this.mapSelect = mapField.querySelector("select")!;
    this.colourSelect = colourField.querySelector("select")!;
    this.fillHeader(mapField, colourField);
    this.main = h("main", { class: "main" }, ...Object.values(views));
    this.side = h("aside", { class: "side", "aria-label": "Details" }, this.tabList(), ...Object.values(panels));
    root.append(h("a", { class: "skip", href: "#", onclick: (e: Event) => {
      e.preventDefault();
      this.views[store.state.view].querySelector<HTMLElement>("[tabindex='0']")?.focus();
    } }, "To the objects"), this.header, this.main, this.side, h("footer", { class: "status" }, this.status, this.hint()), notices.element, notices.live);
    if (!source.can.where) this.filter.parentElement!.hidden = true;
    store.on(["view", "panel", "sheet"], () => this.arrange());
    store.on(["selection", "filter", "off"], () => this.count());
    store.on(["map", "colour", "axes"], () => this.refresh());
    store.on(["where"], (s) => (this.filter.value = s.where));
    this.startTheme();
    this.refresh();
    this.arrange();
    this.count();
  }

  private fillHeader(mapField: HTMLElement, colourField: HTMLElement): void {
    const { space, source } = this.ctx;
    const title = h("div", { class: "title", title: `${space.name}: ${whole(space.n)} objects, ${space.dim} dimensions, space ${space.space_id}${space.run ? `, run ${space.run}` : ""}` },
      h("span", { class: "name" }, space.name), space.starter ? h("span", { class: "badge" }, "starter encoder") : null);
    const switcher = h("div", { class: "switch", role: "tablist", "aria-label": "View" });
    for (const [view, [text, picture]] of Object.entries(VIEWS) as [MainView, [string, string]][]) {
      const tab = h("button", { type: "button", role: "tab", id: `view-${view}`, "aria-label": text, "aria-controls": `main-${view}`, onclick: () => this.ctx.store.set({ view, sheet: false }) }, icon(picture), h("span", {}, text));
      this.tabs.set(`view-${view}`, tab);
      switcher.append(tab);
      this.views[view].id = `main-${view}`;
      this.views[view].setAttribute("role", "tabpanel");
      this.views[view].setAttribute("aria-labelledby", `view-${view}`);
    }
    arrows(switcher);
    fill(this.header, title, switcher, h("div", { class: "choosers" }, mapField, this.axes, colourField),
      h("div", { class: "filter" }, this.filter, iconButton("close", "Clear the filter", () => this.clearFilter(), { class: "icon-button clear" }), this.filterNote),
      h("div", { class: "right" },
        source.can.drop ? iconButton("upload", "Place a FITS file on the map, or drop it anywhere", () => document.getElementById("drop-input")?.click()) : null,
        iconButton("sun", "Light or dark (D)", () => this.toggleTheme(), { class: "icon-button theme" }),
        iconButton("help", "Keyboard and help (?)", () => this.openHelp())));
  }

  private tabList(): HTMLElement {
    const list = h("div", { class: "tabs", role: "tablist", "aria-label": "Panels" });
    for (const [panel, text] of Object.entries(PANELS) as [PanelName, string][]) {
      if (!this.offered(panel)) {
        this.panels[panel].hidden = true;
        continue;
      }
      const tab = h("button", { type: "button", role: "tab", id: `tab-${panel}`, "aria-controls": `panel-${panel}`, onclick: () => {
        const { state } = this.ctx.store;
        this.ctx.store.set({ panel, sheet: !(state.sheet && state.panel === panel) });
      } }, text);
      this.tabs.set(`tab-${panel}`, tab);
      list.append(tab);
      this.panels[panel].id = `panel-${panel}`;
      this.panels[panel].setAttribute("role", "tabpanel");
      this.panels[panel].setAttribute("aria-labelledby", `tab-${panel}`);
      this.panels[panel].tabIndex = 0;
    }
    arrows(list);
    return list;
  }

  private offered(panel: PanelName): boolean {
    const { space, source } = this.ctx;
    if (panel === "query") return source.can.neighbours;
    if (panel === "label") return source.can.labels;
    if (panel === "clusters") return source.live || space.clusters.length > 0;
    if (panel === "odd") return source.live || space.anomalies.length > 0;
    return true;
  }

  private hint(): HTMLElement {
    const { space } = this.ctx;
    return h("div", { class: "status-right" }, `${plural(space.dim, "dimension")} · space ${space.space_id.slice(0, 8)}${space.average ? ` · averaged over ${space.average}` : ""} · morphospace ${space.version}`);
  }

  refresh(): void {
    const { space, store } = this.ctx;
    const { map, colour, axes } = store.state;
    setOptions(this.mapSelect, space.maps.map((m) => ({ value: m.name, text: `${m.name}${m.dims === 3 ? ", 3-D" : ""}${m.fresh === false ? " (of older embeddings)" : ""}` })), map);
    setOptions(this.colourSelect, colourChoices(space), colour);
    const dims = space.maps.find((m) => m.name === map)?.dims ?? 2;
    fill(this.axes);
    if (dims < 3) return;
    const pairs: [number, number][] = [[0, 1], [0, 2], [1, 2]];
    const names = "xyz";
    this.axes.append(choice("Axes", pairs.map(([a, b]) => ({ value: `${a}${b}`, text: `${names[a]}, ${names[b]}` })), axes.join(""), (v) => store.set({ axes: [Number(v[0]), Number(v[1])] })));
  }

  private arrange(): void {
    const { view, panel, sheet } = this.ctx.store.state;
    for (const [name, element] of Object.entries(this.views)) element.hidden = name !== view;
    for (const [name, element] of Object.entries(this.panels)) element.hidden = name !== panel;
    for (const [id, tab] of this.tabs) {
      const on = id === `view-${view}` || id === `tab-${panel}`;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
    }
    this.side.dataset.sheet = sheet ? "open" : "closed";
  }

  private count(): void {
    const { filter, selection } = this.ctx.store.state;
    const parts = [plural(this.ctx.space.n, "object")];
    if (filter) parts.push(`${whole(filter.length)} match the filter`);
    if (selection.length) parts.push(`${whole(selection.length)} selected`);
    this.status.textContent = parts.join(" · ");
    this.filterNote.textContent = filter ? whole(filter.length) : "";
    const tab = this.tabs.get("tab-selection");
    if (tab) fill(tab, "Selection", selection.length ? h("span", { class: "count" }, short(selection.length)) : null);
    if (selection.length || filter) this.ctx.say(parts.slice(1).join(", "));
  }

  /** Run the filter; a sentence appears at the field if it cannot be read. */
  async filtering(act: () => Promise<void>): Promise<void> {
    try {
      await act();
      this.filter.setAttribute("aria-invalid", "false");
    } catch (error) {
      this.filter.setAttribute("aria-invalid", "true");
      this.ctx.notice(error instanceof Error ? error.message : String(error), true);
    }
  }

  private clearFilter(): void {
    this.filter.value = "";
    this.filter.setAttribute("aria-invalid", "false");
    this.ctx.store.set({ where: "", filter: null });
  }

  private startTheme(): void {
    const media = window.matchMedia("(prefers-color-scheme: dark)");
    const wanted = stored("morphospace-theme");
    this.setTheme(wanted ? wanted === "dark" : media.matches);
    media.addEventListener("change", () => {
      if (!stored("morphospace-theme")) this.setTheme(media.matches);
    });
  }

  private setTheme(dark: boolean): void {
    this.dark = dark;
    this.ctx.root.dataset.theme = dark ? "dark" : "light";
    const button = this.header.querySelector(".theme");
    if (button) fill(button, icon(dark ? "sun" : "moon"));
    this.onTheme();
  }

  toggleTheme(): void {
    this.setTheme(!this.dark);
    try {
      window.localStorage.setItem("morphospace-theme", this.dark ? "dark" : "light");
    } catch {
      // a page opened from disk may keep nothing
    }
  }

  /** Paper and ink of the map, 0 to 1 and 0 to 1. */
  mapColours(): [[number, number, number], [number, number, number]] {
    return this.dark ? [[13 / 255, 15 / 255, 19 / 255], [1, 1, 1]] : [[252 / 255, 252 / 255, 251 / 255], [0.06, 0.07, 0.09]];
  }
}

function stored(key: string): string | null {
  try {
    return window.localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Left and right move between the tabs of a list. */
export function arrows(list: HTMLElement): void {
  list.addEventListener("keydown", (e) => {
    const step = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    const tabs = [...list.querySelectorAll<HTMLButtonElement>("[role=tab]")];
    const next = tabs[(tabs.indexOf(e.target as HTMLButtonElement) + step + tabs.length) % tabs.length];
    next?.click();
    next?.focus();
    e.preventDefault();
  });
}
