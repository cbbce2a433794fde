import type { Picture } from "./maths/stretch";

export type MainView = "map" | "gallery" | "table";
export type PanelName = "object" | "selection" | "query" | "clusters" | "odd" | "label";
export type Scope = "all" | "filter" | "selection";

export interface State {
  view: MainView;
  panel: PanelName;
  /** On a narrow screen: whether the panel covers the lower part. */
  sheet: boolean;
  map: string;
  axes: [number, number];
  colour: string;
  ramp: string;
  reversed: boolean;
  /** Categories switched off in the legend. */
  off: ReadonlySet<number>;
  where: string;
  filter: Uint32Array | null;
  chosen: number;
  /** Token of a dropped file that is shown instead of a row. */
  dropped: string | null;
  selection: Uint32Array;
  like: number[];
  unlike: number[];
  scope: Scope;
  thumbs: boolean;
  /** A click in gallery or table selects instead of choosing: for hands without a keyboard. */
  picking: boolean;
  picture: Picture;
}

type Key = keyof State;

export class Store {
  private readonly watchers: { keys: Key[]; act: (state: State) => void }[] = [];
  private pending = new Set<Key>();
  private telling = false;

  constructor(public state: State) {}

  /** Call `act` after any of `keys` has changed. */
  on(keys: Key[], act: (state: State) => void): void {
    this.watchers.push({ keys, act });
  }

  set(patch: Partial<State>): void {
    for (const [key, value] of Object.entries(patch) as [Key, State[Key]][]) {
      if (this.state[key] !== value) this.pending.add(key);
    }
    this.state = { ...this.state, ...patch };
    if (this.telling) return;
    this.telling = true;
    try {
      while (this.pending.size) {
        const changed = this.pending;
        this.pending = new Set();
        for (const { keys, act } of this.watchers) if (keys.some((key) => changed.has(key))) act(this.state);
      }
    } finally {
      this.telling = false;
    }
  }
}

export type SelectMode = "replace" | "add" | "subtract";

export const modeOf = (event: { shiftKey: boolean; altKey: boolean; ctrlKey?: boolean; metaKey?: boolean }): SelectMode =>
  event.altKey ? "subtract" : event.shiftKey || event.ctrlKey || event.metaKey ? "add" : "replace";

/** A selection (ascending) changed by other rows. */
export function combined(now: Uint32Array, rows: ArrayLike<number>, mode: SelectMode): Uint32Array {
  if (mode === "replace") return Uint32Array.from(new Set(Array.from(rows))).sort();
  const set = new Set(now);
  for (let i = 0; i < rows.length; i++) {
    if (mode === "add") set.add(rows[i]);
    else set.delete(rows[i]);
  }
  return Uint32Array.from(set).sort();
}
