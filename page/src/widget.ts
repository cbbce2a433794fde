import styles from "./style.css?inline";
import { App } from "./app";
import { h } from "./dom";
import { type Embedded, EmbeddedSource } from "./embedded";

/** What anywidget gives: traits that both sides see. */
interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  on(event: string, act: () => void): void;
  off(event: string, act: () => void): void;
  save_changes(): void;
}

async function render({ model, el }: { model: Model; el: HTMLElement }): Promise<() => void> {
  const root = h("div", { class: "morphospace widget", style: { height: `${Number(model.get("height")) || 600}px` } });
  const shadow = el.attachShadow({ mode: "open" });
  shadow.append(h("style", {}, styles.replaceAll(":root", ":host")), root);
  const source = new EmbeddedSource(model.get("data") as Embedded);
  const colour = model.get("color");
  const app = new App(root, source, await source.space(), { address: false, colour: typeof colour === "string" && colour ? colour : undefined });
  await app.start();
  const { store } = app;
  const rowsOf = (name: string) => (Array.isArray(model.get(name)) ? (model.get(name) as number[]) : []);
  let mine = false;
  const push = (name: string, value: unknown) => {
    mine = true;
    model.set(name, value);
    model.save_changes();
    mine = false;
  };
  store.on(["selection"], (s) => push("selection", Array.from(s.selection)));
  store.on(["chosen"], (s) => push("chosen", s.chosen));
  const pulled: Record<string, () => void> = {
    "change:selection": () => store.set({ selection: Uint32Array.from(rowsOf("selection")).sort() }),
    "change:chosen": () => store.set({ chosen: Number(model.get("chosen") ?? -1) }),
    "change:color": () => store.set({ colour: String(model.get("color") ?? "") }),
  };
  const guarded = Object.entries(pulled).map(([event, act]) => [event, () => mine || act()] as const);
  for (const [event, act] of guarded) model.on(event, act);
  if (rowsOf("selection").length) pulled["change:selection"]();
  return () => guarded.forEach(([event, act]) => model.off(event, act));
}

export default { render };
