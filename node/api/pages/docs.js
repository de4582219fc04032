// Filters the page and asks the node what the reader wants to try. Without it the page is complete.
"use strict";

const SHOWN_CHARACTERS_MAX = 20000;

function filter(text) {
  const wanted = text.trim().toLowerCase();
  for (const one of document.querySelectorAll(".operation")) {
    one.hidden = !one.querySelector("summary").textContent.toLowerCase().includes(wanted);
  }
  for (const section of document.querySelectorAll("main section:not(#types)")) {
    section.hidden = !section.querySelector(".operation:not([hidden])");
  }
}

function address(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  for (const input of form.querySelectorAll("input")) {
    if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.value) query.set(input.name, input.value);
  }
  return query.size ? `${path}?${query}` : path;
}

async function ask(form, shown) {
  const token = document.getElementById("token").value.trim();
  const url = address(form);
  shown.hidden = false;
  shown.textContent = `GET ${url} …`;
  try {
    const answer = await fetch(url, {
      headers: { Accept: "application/json", ...(token && { Authorization: `Bearer ${token}` }) },
    });
    const kind = answer.headers.get("Content-Type") || "";
    let text = /json|text/.test(kind) ? await answer.text() : `${kind}, ${(await answer.arrayBuffer()).byteLength} bytes`;
    if (kind.includes("json")) text = JSON.stringify(JSON.parse(text), null, 2);
    shown.textContent = `${answer.status} GET ${url}\n\n${text.slice(0, SHOWN_CHARACTERS_MAX)}`;
  } catch (error) {
    shown.textContent = `GET ${url}\n\n${error}`;
  }
}

function prepare(form) {
  const rows = form.closest(".operation").querySelectorAll("tr[data-in=path], tr[data-in=query]");
  for (const row of rows) {
    const input = document.createElement("input");
    input.name = row.dataset.name;
    input.placeholder = row.dataset.name;
    input.ariaLabel = row.dataset.name;
    input.dataset.in = row.dataset.in;
    input.required = row.dataset.in === "path";
    form.append(input);
  }
  const button = document.createElement("button");
  button.textContent = "Try";
  const shown = document.createElement("pre");
  shown.hidden = true;
  form.append(button, shown);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(form, shown);
  });
  form.hidden = form.dataset.path === "/v1/events";
}

function open() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

const search = document.getElementById("filter");
search.hidden = false;
search.addEventListener("input", () => filter(search.value));
document.querySelector(".key").hidden = false;
document.querySelectorAll(".try").forEach(prepare);
addEventListener("hashchange", open);
open();
