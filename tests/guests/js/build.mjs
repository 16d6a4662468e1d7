// node build.mjs WIT OUT: makes a component of hello.js. `build-languages.sh` runs a copy beside node_modules.
import { readFile, writeFile } from "node:fs/promises";
import { resolve } from "node:path";

import { componentize } from "@bytecodealliance/componentize-js";

const [wit, out] = process.argv.slice(2);
const source = await readFile(new URL("hello.js", import.meta.url), "utf8");
const { component } = await componentize(source, {
  sourceName: "hello.js",
  witPath: resolve(wit),
  worldName: "hello",
});
await writeFile(out, component);
