"""The console in a real browser, over a real relay: each page is opened and used, and then as a new user would."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from console_world import TOKEN, Looking, Sitting, World, fill, world

PATHS = ("/message/CR7D5JBH7000", "/destination?name=nothing.test")
PHONE = {"viewport": {"width": 360, "height": 740}}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def sitting() -> Iterator[Sitting]:
    made = Sitting()
    yield made
    made.close()


def menu_of(look: Looking) -> list[str]:
    return [one.get_attribute("href") for one in look.page.get_by_label("Pages", exact=True).get_by_role("link").all()]


def test_each_page_is_sound_on_screens_and_phones_in_the_light_and_in_the_dark(there: World, sitting: Sitting) -> None:
    there.moody.always("RCPT", "450 4.2.1 <script>alert(1)</script> \x1b[31mlater")
    kept = fill(there, [("bob@moody.test", "alice@example.org", b""), ("x" * 60 + "@down.test", "", b"")])
    there.relay.wait_until_deferred(kept[0])
    there.relay.wait_until_deferred(kept[1])

    def look_at_all(browser: Any) -> None:
        # Names and structure are the same in the dark, colours are not; those with all of them are looked at twice.
        for context, rules in ({"color_scheme": "light"}, ()), ({"color_scheme": "dark", **PHONE}, ("color-contrast",)):
            colourful = ("/", "/queue", f"/message/{kept[0]}")
            look = Looking(browser, there.url, **context)
            look.page.goto(f"{there.url}/")
            assert look.violations(*rules) == [], "the page to log in with"
            assert all("401" in one for one in look.wrong)
            look.wrong.clear()
            look.log_in()
            destination = look.open("/").locator('a[href^="/destination"]').first.get_attribute("href")
            for path in (*menu_of(look), *PATHS, f"/message/{kept[0]}", destination):
                page = look.open(path)
                for details in page.locator("details").all():
                    details.locator("summary").click()
                if not rules or path in colourful:
                    assert look.violations(*rules) == [], path
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide <= 0, f"{path} is wider than the screen"
                assert page.evaluate("document.title").endswith("mta on mail.example.org")
            assert [one for one in look.wrong if "404" not in one] == []

    sitting(look_at_all)


def test_without_scripts_everything_but_what_moves_works(there: World, sitting: Sitting) -> None:
    kept = fill(there, [("carol@down.test", "alice@example.org", b"")])[0]
    there.relay.wait_until_deferred(kept)

    def use(browser: Any) -> None:
        look = Looking(browser, there.url, java_script_enabled=False)
        look.log_in(anew=True)
        page = look.open("/queue?to=carol@down.test")
        page.get_by_label(f"Select {kept}").check()
        page.get_by_role("button", name="Hold").click()
        page.get_by_text("1 recipient held").wait_for()
        page.get_by_label(f"Select {kept}").check()
        page.get_by_role("button", name="Drop").click()
        page.get_by_role("button", name="Yes, drop").click()
        page.get_by_text("1 recipient dropped").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Token").wait_for()
        page.goto(f"{there.url}/queue")
        assert page.get_by_label("Token").is_visible()

    sitting(use)
    assert there.relay.queued(kept) is None


def test_the_keyboard_reaches_everything_and_leaves_again(there: World, sitting: Sitting) -> None:
    kept = fill(there, [("dave@down.test", "alice@example.org", b"")])[0]
    there.relay.wait_until_deferred(kept)

    def use(browser: Any) -> None:
        look = Looking(browser, there.url)
        look.log_in()
        page = look.open("/queue?to=dave@down.test")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        assert page.locator(".skip").bounding_box()["y"] >= 0, "it is seen where it has the focus"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        seen, unseen = set(), []
        for _ in range(40):
            page.keyboard.press("Tab")
            name, ring = page.evaluate(
                "() => { const one = document.activeElement; return [one.name || one.textContent.trim() || one.id,"
                " getComputedStyle(one).outlineStyle]; }"
            )
            seen.add(name)
            if ring == "none" and name and page.evaluate("document.activeElement !== document.body"):
                unseen.append(name)
        assert {"from", "to", "state", "id", "verb", kept} <= seen
        assert unseen == [], "the focus is seen"
        page.get_by_label(f"Select {kept}").focus()
        page.keyboard.press("Space")
        page.get_by_text("1 selected").wait_for()
        page.get_by_role("button", name="Bounce").focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Return 1 message to the sender?").wait_for()
        page.get_by_role("link", name="No, go back").focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Queue").wait_for()
        assert look.wrong == []

    sitting(use)
    assert there.relay.queued(kept) is not None


def test_as_a_new_user_would(there: World, sitting: Sitting) -> None:
    """Send, watch it, break the next hop, find out why in the console and on the command line, mend, retry."""

    def walk(browser: Any) -> None:
        look = Looking(browser, there.url)
        look.log_in(anew=True)
        page = look.page
        page.get_by_text("live", exact=True).wait_for()

        first = there.send("first@up.test")
        [taken] = there.up.wait_for("first@up.test")
        assert taken.sender == "alice@example.org"
        page.get_by_role("link", name="Log", exact=True).click()
        page.get_by_text(re.compile(f"{first} delivered")).wait_for()

        there.sinks.pause(there.up)
        page.goto(f"{there.url}/log")
        page.get_by_text("live", exact=True).wait_for()
        second = there.send("second@up.test")
        page.get_by_text(re.compile(f"{second} deferred")).wait_for()  # a line that came by itself

        page.get_by_role("link", name="Queue", exact=True).click()
        page.get_by_role("link", name=second).click()
        page.get_by_role("heading", name=second).wait_for()
        why = "connection refused"
        assert why in page.get_by_role("table").inner_text().lower()
        assert why in there.relay.story(second).lower(), "the command line says the same"
        place = page.locator('a[href^="/destination"]').first.get_attribute("href")
        page.goto(f"{there.url}{place}")
        assert why in page.locator("main").inner_text().lower()
        page.get_by_text("paused").first.wait_for()

        there.sinks.resume(there.up)
        page.get_by_role("button", name="Retry").click()
        page.get_by_text("tried again at once").wait_for()
        there.up.wait_for("second@up.test")
        page.goto(f"{there.url}/message/{second}")
        page.locator("h1 .delivered").wait_for()
        page.get_by_text(re.compile("delivered to second@up.test")).wait_for()
        assert look.wrong == []

    sitting(walk)


def test_advice_is_of_this_relay(there: World, sitting: Sitting) -> None:
    kept = fill(there, [("grace@down.test", "alice@example.org", b"")])[0]
    there.relay.wait_until_deferred(kept)

    def ask(browser: Any) -> None:
        look = Looking(browser, there.url)
        look.log_in()
        page = look.open("/explain")
        page.get_by_label("To", exact=True).fill("grace@down.test")
        page.get_by_role("button", name="Explain").click()
        page.get_by_text("to down.test").first.wait_for()
        text = page.locator("main").inner_text()
        assert "mta.yml:" in text and "waiting" in text and "451 4.4.1 connection refused" in text
        assert look.violations() == []
        page.get_by_label("Client").fill("nobody")
        page.get_by_role("button", name="Explain").click()
        page.get_by_role("alert").wait_for()
        assert look.violations() == []
        page = look.open("/doctor")
        page.get_by_label("Domain").fill("not a domain")
        page.get_by_role("button", name="Examine").click()
        page.get_by_text("is not a domain").wait_for()
        page.get_by_label("Domain").fill("up.test")
        page.get_by_role("button", name="Examine").click()
        page.get_by_text("Being examined").wait_for()
        page.locator(".findings li").first.wait_for(timeout=20_000)
        assert page.locator(".findings li").count() > 5
        assert look.violations() == []
        page = look.open("/audit")
        page.get_by_role("button", name="Add up").click()
        page.get_by_text("The sums match, for each message.").wait_for()
        assert look.violations() == []
        assert look.wrong == []

    sitting(ask)


def test_a_page_that_is_open_follows_the_queue(there: World, sitting: Sitting) -> None:
    def watch(browser: Any) -> None:
        look = Looking(browser, there.url)
        look.log_in()
        page = look.open("/queue?from=moving@example.org&to=down.test")
        page.get_by_text("Nothing in the queue matches").wait_for()
        first = there.send("erin@down.test", "moving@example.org")
        there.relay.wait_until_deferred(first)
        page.reload()
        page.get_by_text("live", exact=True).wait_for()
        page.get_by_label(f"Select {first}").check()
        second = there.send("frank@down.test", "moving@example.org")
        page.get_by_role("link", name=second).wait_for()
        assert page.get_by_label(f"Select {first}").is_checked(), "what was selected still is"
        assert look.wrong == []

    sitting(watch)


def test_pages_come_with_a_strict_policy(there: World) -> None:
    status, fields, _ = there.ask("GET", "/")
    assert status == 401 and "frame-ancestors 'none'" in fields["content-security-policy"]
    _, fields, _ = there.ask("GET", "/queue", Authorization=f"Bearer {TOKEN}")
    policy = fields["content-security-policy"]
    assert "unsafe" not in policy and "default-src 'self'" in policy
