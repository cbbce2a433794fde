// Builds what the package carries: index.html with assets/, single.html (all in one file), widget.js (anywidget) and THIRD_PARTY.txt.
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = process.argv[2] ?? fileURLToPath(new URL("../src/morphospace/explore/static", import.meta.url));
const bundled = new Set();
const watch = {
  name: "what-is-bundled",
  generateBundle(_, bundle) {
    for (const chunk of Object.values(bundle)) for (const id of Object.keys(chunk.modules ?? {})) {
      const found = id.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/);
      if (found) bundled.add(found[1]);
    }
  },
};
const quiet = { root: here, logLevel: "warn", configFile: `${here}vite.config.ts`, plugins: [watch] };

await build(quiet);
await build({
  ...quiet, configFile: false,
  build: { outDir: ".build/widget", emptyOutDir: true, target: "es2022", lib: { entry: `${here}src/widget.ts`, formats: ["es"], fileName: () => "widget.js" } },
});
await build({
  ...quiet, configFile: false,
  build: { outDir: ".build/single", emptyOutDir: true, target: "es2022", lib: { entry: `${here}src/main.ts`, formats: ["iife"], name: "page", fileName: () => "single.js", cssFileName: "single" } },
});

rmSync(`${out}/assets`, { recursive: true, force: true });
mkdirSync(`${out}/assets`, { recursive: true });
cpSync(`${here}.build/page`, out, { recursive: true });
cpSync(`${here}.build/widget/widget.js`, `${out}/widget.js`);

const script = readFileSync(`${here}.build/single/single.js`, "utf8").replaceAll("</script", "<\\/script").trim();
const style = readFileSync(`${here}.build/single/single.css`, "utf8").trim();
const hash = createHash("sha256").update(script).digest("base64");
const policy = `default-src 'none'; script-src 'sha256-${hash}'; style-src 'unsafe-inline'; img-src blob: data:; connect-src 'none'; base-uri 'none'; form-action 'none'`;
writeFileSync(`${out}/single.html`, `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>morphospace</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body class="morphospace">
<p id="loading" class="loading" role="status">Opening the space of shapes …</p>
<noscript>This page draws with JavaScript: please allow it for this file.</noscript>
<!--MORPHOSPACE-DATA-->
<script>${script}</script>
</body>
</html>
`);

const licences = [...bundled].sort().map((name) => {
  const about = JSON.parse(readFileSync(`${here}node_modules/${name}/package.json`, "utf8"));
  const text = readFileSync(`${here}node_modules/${name}/LICENSE`, "utf8");
  return `${name} ${about.version} (${about.license})\n\n${text.trim()}\n`;
});
licences.push("Colour maps viridis, magma, inferno (CC0, Nathaniel Smith and Stefan van der Walt) and cividis (CC0, Nunez, Anderton and Renslow),\nas 33 stops of the tables of matplotlib.\n");
writeFileSync(`${out}/THIRD_PARTY.txt`, `What the built page carries beside morphospace's own code (BSD-3-Clause).\n${bundled.size ? "" : "No package of others is bundled: vite and typescript are used to build it only.\n"}\n${licences.join("\n----\n\n")}`);
