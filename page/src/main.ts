import "./style.css";
import { App } from "./app";
import { h } from "./dom";
import { type Embedded, EmbeddedSource } from "./embedded";
import { HttpSource } from "./http";

async function start(): Promise<void> {
  const root = document.body;
  const held = document.getElementById("morphospace-data")?.textContent;
  try {
    const source = held ? new EmbeddedSource(JSON.parse(held) as Embedded) : new HttpSource();
    const space = await source.space();
    document.title = `${space.name} · morphospace`;
    const app = new App(root, source, space, { address: true });
    document.getElementById("loading")?.remove();
    await app.start();
    Object.assign(window, { morphospace: app });
  } catch (error) {
    const sentence = error instanceof Error ? error.message : String(error);
    document.getElementById("loading")?.remove();
    root.append(h("div", { class: "fatal", role: "alert" }, h("h1", {}, "This page could not be shown"), h("p", {}, sentence),
      h("button", { type: "button", class: "button", onclick: () => window.location.reload() }, "Try again")));
  }
}

void start();
