import type { Context } from "./context";
import { h, iconButton } from "./dom";
import type { Frame } from "./frame";
import type { MapView } from "./map/map";
import type { LabelPanel } from "./panels/label";
import { toggled } from "./panels/strip";

const SHORTCUTS: [string, string][] = [
  ["M  G  T", "map, gallery, table"],
  ["V  L  B", "move, lasso, box (Shift adds, Alt takes away)"],
  ["+  −  F", "zoom in, zoom out, whole map"],
  ["Arrows", "move on the map, in the gallery, in the table"],
  ["Enter", "choose the object at the cross or cursor"],
  ["Space", "select the object at the cursor"],
  ["S", "add the chosen object to the selection"],
  ["Y  N", "more like the chosen, less like it"],
  ["/", "filter"],
  ["P", "pictures on the map"],
  ["0 … 5, 1 … 9", "label (in the Label panel)"],
  ["U  Ctrl-Z", "undo the last label"],
  ["→", "skip to the next object offered"],
  ["D", "light or dark"],
  ["Esc", "let go, close"],
  ["?", "this list"],
];

/** Keyboard use of the whole page. */
export class Keys {
  private readonly dialog = h("dialog", { class: "dialog", "aria-labelledby": "help-title" });

  constructor(
    private readonly ctx: Context,
    private readonly map: MapView,
    private readonly frame: Frame,
    private readonly label: LabelPanel,
  ) {
    const list = h("dl", { class: "shortcuts" });
    for (const [keys, what] of SHORTCUTS) list.append(h("dt", {}, ...keys.split("  ").map((k) => h("kbd", {}, k))), h("dd", {}, what));
    this.dialog.append(h("header", {}, h("h2", { id: "help-title" }, "Keyboard"), iconButton("close", "Close", () => this.dialog.close())), list,
      h("p", { class: "quiet" }, "The address of this page restores what you see: copy it to keep a view. Nothing leaves this machine unless you open a link under “Sky”."));
    ctx.root.append(this.dialog);
    frame.openHelp = () => this.dialog.showModal();
    ctx.root.addEventListener("keydown", (e) => this.key(e));
    if (ctx.root === document.body) return;
    ctx.root.tabIndex = -1;
  }

  private key(event: KeyboardEvent): void {
    const target = event.composedPath()[0] as HTMLElement;
    if (event.defaultPrevented || target.closest("input, select, textarea, dialog")) return;
    if (this.label.key(event)) {
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = this.action(event.key.length === 1 ? event.key.toLowerCase() : event.key);
    if (!act) return;
    event.preventDefault();
    act();
  }

  private action(key: string): (() => void) | undefined {
    const { store, source } = this.ctx;
    const { chosen, like, unlike, selection } = store.state;
    const actions: Record<string, () => void> = {
      m: () => store.set({ view: "map" }),
      g: () => store.set({ view: "gallery" }),
      t: () => store.set({ view: "table" }),
      v: () => this.map.setTool("pan"),
      l: () => this.map.setTool("lasso"),
      b: () => this.map.setTool("box"),
      "+": () => this.map.zoomBy(1.6),
      "=": () => this.map.zoomBy(1.6),
      "-": () => this.map.zoomBy(1 / 1.6),
      f: () => this.map.home(),
      d: () => this.frame.toggleTheme(),
      p: () => store.set({ thumbs: !store.state.thumbs }),
      "/": () => this.frame.filter.focus(),
      "?": () => this.frame.openHelp(),
      Escape: () => this.escape(),
    };
    if (chosen >= 0) {
      actions.s = () => store.set({ selection: Uint32Array.from(new Set([...selection, chosen])).sort() });
      if (source.can.neighbours) {
        actions.y = () => store.set({ like: toggled(like, chosen), unlike: unlike.filter((r) => r !== chosen), panel: "query" });
        actions.n = () => store.set({ unlike: toggled(unlike, chosen), like: like.filter((r) => r !== chosen), panel: "query" });
      }
    }
    return actions[key];
  }

  private escape(): void {
    const { store } = this.ctx;
    if (this.map.tool !== "pan") this.map.setTool("pan");
    else if (store.state.sheet && window.innerWidth < 800) store.set({ sheet: false });
    else if (store.state.chosen >= 0 || store.state.dropped) {
      this.map.dropped(null);
      store.set({ chosen: -1, dropped: null });
    } else store.set({ selection: new Uint32Array() });
  }
}
