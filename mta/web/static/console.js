// What moves by itself on the pages of the console. Without it they are the same pages, standing still.
"use strict";

(() => {
  const live = document.getElementById("live");

  function say(text, isCut) {
    if (!live) return;
    live.hidden = false;
    live.textContent = text;
    live.classList.toggle("cut", isCut);
  }

  // Events: pages that have something that may change ask for it again, and keep what is selected and where one is.

  const log = document.getElementById("log");
  const moves = log || document.querySelector('[hx-trigger*="mta:changed"]');
  let source = null;

  function listen() {
    if (source || !moves || document.hidden) return;
    source = new EventSource(log ? "/events?log=yes" : "/events");
    source.addEventListener("open", () => say("live", false));
    source.addEventListener("error", () => say("connecting", true));
    source.addEventListener("changed", () => {
      if (!document.querySelector("#page select:focus, #page details[open] summary:focus")) {
        document.body.dispatchEvent(new CustomEvent("mta:changed"));
      }
    });
    source.addEventListener("line", (event) => append(event.data));
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) return listen();
    if (source) source.close();
    source = null;
  });
  addEventListener("pagehide", () => source && source.close());

  // The log: new lines at the end, scrolled to where that was looked at.

  const MOST = 1000;

  function append(line) {
    const wanted = log.dataset.wanted.toLowerCase();
    if (wanted && !line.toLowerCase().includes(wanted)) return;
    const quiet = document.getElementById("quiet");
    if (quiet) quiet.remove();
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const item = document.createElement("li");
    item.textContent = line;
    item.className = (/^\S+ \S+ ([a-z-]+)/.exec(line) || /"event": "([a-z-]+)"/.exec(line) || ["", ""])[1];
    log.append(item);
    while (log.childElementCount > MOST) log.firstElementChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }

  if (log) log.scrollTop = log.scrollHeight;

  // Selecting: all of a page at once, and how many there are.

  function boxes() {
    return [...document.querySelectorAll('input[name="id"][type="checkbox"]')];
  }

  function count() {
    const all = document.getElementById("all");
    const told = document.getElementById("selected");
    if (!all || !told) return;
    const chosen = boxes().filter((box) => box.checked).length;
    all.hidden = false;
    all.checked = chosen > 0 && chosen === boxes().length;
    all.indeterminate = chosen > 0 && !all.checked;
    const text = chosen ? `${chosen} selected` : "";
    if (told.textContent !== text) told.textContent = text;
  }

  document.addEventListener("change", (event) => {
    if (event.target.id === "all") boxes().forEach((box) => { box.checked = event.target.checked; });
    count();
  });

  // Charts.

  let chart = null;

  function ink(word) {
    const probe = document.createElement("span");
    probe.className = word;
    document.body.append(probe);
    const colour = getComputedStyle(probe).getPropertyValue("--ink").trim();
    probe.remove();
    return colour;
  }

  function draw() {
    const place = document.getElementById("chart");
    const given = document.getElementById("rates-data");
    if (!place || !given || typeof uPlot === "undefined") return;
    const series = [...given.children].map((one) => ({ word: one.dataset.word, values: one.dataset.values.split(" ").map(Number) }));
    const step = Number(given.dataset.step), end = Number(given.dataset.end);
    const times = series[0].values.map((_, number) => end - step * (series[0].values.length - 1 - number));
    const data = [times, ...series.map((one) => one.values)];
    if (chart && place.contains(chart.root)) return chart.setData(data);
    const style = getComputedStyle(document.body);
    const soft = style.getPropertyValue("--soft").trim(), line = style.getPropertyValue("--line").trim();
    const axis = { stroke: soft, font: `12px ${style.fontFamily}`, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });
    place.replaceChildren();
    chart = new uPlot({
      width: place.clientWidth,
      height: 190,
      cursor: { y: false, drag: { x: false, y: false } },
      legend: { show: false },
      scales: { y: { range: (_, low, high) => [0, Math.max(high, 4) * 1.08] } },
      axes: [
        { ...axis, values: (_, marks) => marks.map((at) => clock.format(at * 1000)), grid: { show: false } },
        { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000, 1000000] },
      ],
      series: [{}, ...series.map((one) => ({ label: one.word, stroke: ink(one.word), width: 1.5, points: { show: false } }))],
    }, data, place);
    chart.root.setAttribute("aria-hidden", "true");
  }

  addEventListener("resize", () => {
    const place = document.getElementById("chart");
    if (chart && place) chart.setSize({ width: place.clientWidth, height: 190 });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (chart) chart.destroy();
    chart = null;
    draw();
  });

  document.addEventListener("htmx:after:swap", () => { count(); draw(); });
  draw();
  count();
  listen();
})();
