/**
 * The site's theme: VitePress's own, and the live page and the map where a page's frontmatter says
 * `live` or `world`.
 */

import { defineComponent, h, onBeforeUnmount, onMounted, ref } from "vue";
import { type Theme, useData, withBase } from "vitepress";
import DefaultTheme from "vitepress/theme";

type Mount = (root: HTMLElement, base: string) => Promise<() => void>;

/** Filled in the browser alone: pages are rendered without Workers when the site is built. */
function mountedBy(
  load: () => Promise<Mount>,
  otherwise: string,
): ReturnType<typeof defineComponent> {
  return defineComponent({
    setup() {
      const root = ref<HTMLElement>();
      let isLeft = false;
      let end = (): void => undefined;
      onMounted(async () => {
        const mount = await load();
        if (root.value === undefined || isLeft) return;
        end = await mount(root.value, withBase("/"));
        if (isLeft) end();
      });
      onBeforeUnmount(() => {
        isLeft = true;
        end();
      });
      return () => h("div", { ref: root }, otherwise);
    },
  });
}

const Live = mountedBy(
  async () => (await import("../../live/live-page.ts")).mountLive,
  "The live page needs JavaScript and shared memory.",
);
const World = mountedBy(
  async () => (await import("../../world/world-page.ts")).mountWorld,
  "The map needs JavaScript, shared memory and WebGPU.",
);

const Layout = defineComponent({
  setup() {
    const { frontmatter } = useData();
    const bottom = (): ReturnType<typeof h>[] => {
      if (frontmatter.value["live"] === true) return [h(Live)];
      return frontmatter.value["world"] === true ? [h(World)] : [];
    };
    return () => h(DefaultTheme.Layout, null, { "page-bottom": bottom });
  },
});

const theme: Theme = { extends: DefaultTheme, Layout };
export default theme;
