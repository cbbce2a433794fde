import type { Rows, Thumbs } from "./cache";
import type { Store } from "./state";
import type { Column, Source, Space } from "./types";

/** What every part of the page is given. */
export interface Context {
  root: HTMLElement;
  source: Source;
  store: Store;
  space: Space;
  thumbs: Thumbs;
  rows: Rows;
  /** A column, fetched once. */
  column(name: string): Promise<Column>;
  /** Forget a column that has changed. */
  stale(name: string): void;
  /** A sentence for the eye; `bad` for errors. */
  notice(sentence: string, bad?: boolean): void;
  /** A sentence for screen readers only. */
  say(sentence: string): void;
  /** Run something that may fail, and show its sentence if it does. */
  attempt(act: () => Promise<void>): Promise<void>;
  /** Ask the space anew: maps, clusters, label sets may have been added. */
  refresh(): Promise<void>;
  choose(row: number, open?: boolean): void;
}
