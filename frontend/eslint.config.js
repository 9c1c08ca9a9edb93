import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

// Import direction: data, scale <- render <- views <- app. `state` sits between api and views.
/**
 * @param {string} folder
 * @param {string[]} forbidden
 */
const inner = (folder, forbidden) => ({
  files: [`src/${folder}/**/*.{ts,tsx}`],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: forbidden.map((name) => ({
          regex: `^\\.\\./(${name})(/|$)`,
          message: `src/${folder} must not know src/${name}.`,
        })),
      },
    ],
  },
});

export default defineConfig(
  { ignores: ["node_modules"] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ["eslint.config.js"] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // Names are cut for people to read; whole code points are enough.
      "@typescript-eslint/no-misused-spread": ["error", { allow: ["string"] }],
      "no-restricted-globals": [
        "error",
        { name: "fetch", message: "Only src/api/http.ts fetches." },
      ],
      "no-restricted-syntax": [
        "error",
        {
          selector: "Identifier[name=/^(innerHTML|outerHTML|insertAdjacentHTML)$/]",
          message: "Names from event files are hostile: text only.",
        },
        {
          selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']",
          message: "Names from event files are hostile: text only.",
        },
      ],
      complexity: ["error", 12],
      "max-lines-per-function": ["error", { max: 90, skipComments: true, skipBlankLines: true }],
    },
  },
  { files: ["src/api/http.ts"], rules: { "no-restricted-globals": "off" } },
  {
    files: ["tests/**", "*.js"],
    rules: { "max-lines-per-function": "off", "@typescript-eslint/no-non-null-assertion": "off" },
  },
  inner("data", ["api", "scale", "render", "views", "state", "app", "index"]),
  inner("scale", ["api", "data", "render", "views", "state", "app", "index"]),
  inner("api", ["scale", "render", "views", "state", "app", "index"]),
  inner("render", ["api", "views", "state", "app", "index"]),
  inner("views", ["app", "index"]),
);
