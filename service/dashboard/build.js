// Builds src/ into static/ (or the folder given), which is what the service ships.
import { build } from "esbuild";
import { copyFile, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "static");

await mkdir(out, { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: { app: "src/main.jsx", embed: "src/embed.jsx", "polyseme-neuron": "src/element.js" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome111", "firefox113", "safari16.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  logLevel: "warning",
});
// What is bundled goes out under its own licence.
await copyFile(join(here, "node_modules/preact/LICENSE"), join(out, "preact-license.txt"));
for (const name of ["index.html", "embed.html", "icon.svg"]) await copyFile(join(here, "src", name), join(out, name));
