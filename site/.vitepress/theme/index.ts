/** The site's theme: VitePress's own, and the live page where a page's frontmatter says `live`. */

import { defineComponent, h, onBeforeUnmount, onMounted, ref } from "vue";
import { type Theme, useData, withBase } from "vitepress";
import DefaultTheme from "vitepress/theme";

/** Filled in the browser alone: the page is rendered without Workers when the site is built. */
const Live = defineComponent({
  setup() {
    const root = ref<HTMLElement>();
    let isLeft = false;
    let end = (): void => undefined;
    onMounted(async () => {
      const { mountLive } = await import("../../live/live-page.ts");
      if (root.value === undefined || isLeft) return;
      end = await mountLive(root.value, withBase("/"));
      if (isLeft) end();
    });
    onBeforeUnmount(() => {
      isLeft = true;
      end();
    });
    return () => h("div", { ref: root }, "The live page needs JavaScript and shared memory.");
  },
});

const Layout = defineComponent({
  setup() {
    const { frontmatter } = useData();
    const live = { "page-bottom": () => (frontmatter.value["live"] === true ? h(Live) : []) };
    return () => h(DefaultTheme.Layout, null, live);
  },
});

const theme: Theme = { extends: DefaultTheme, Layout };
export default theme;
