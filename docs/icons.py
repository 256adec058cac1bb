"""Draws the icons that must be pixels from the one that is not: ``python docs/icons.py``."""

from pathlib import Path

from playwright.sync_api import sync_playwright

STATIC = Path(__file__).resolve().parent.parent / "static"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def main() -> None:
    svg = (STATIC / "icon.svg").read_text()
    # A maskable icon fills its whole square, and keeps what matters away from the edge.
    maskable = svg.replace('viewBox="0 0 32 32"', 'viewBox="-4 -4 40 40"').replace(
        '<rect width="32" height="32" rx="9"', '<rect x="-4" y="-4" width="40" height="40"'
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for name, size, drawing in [
            ("icon-32.png", 32, svg), ("icon-192.png", 192, svg), ("icon-512.png", 512, svg),
            ("icon-maskable.png", 512, maskable),
        ]:  # fmt: skip
            page = browser.new_page(viewport={"width": size, "height": size})
            page.set_content(f"<style>body{{margin:0}}svg{{display:block;width:100vw;height:100vh}}</style>{drawing}")
            page.screenshot(path=STATIC / name, omit_background=True)
        browser.close()


if __name__ == "__main__":
    main()
